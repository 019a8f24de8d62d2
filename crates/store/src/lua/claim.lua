#!lua flags=allow-oom
-- claim: takes rendered messages for sending. Only a queued record whose acceptance and generation are the entry's is
-- taken; an entry that matches none is a second copy and is dropped. Entry, record and `open` change in one step, so that
-- a claimed message stands in `open` or, if the call never came, still in its stream.
-- KEYS, ARGV 1-4: see record.lua; streams are the ready ones; where the hold is minded, the last key is the shard's run
-- ARGV  5 nonce, 6 lease in ms, 7 provider, 8 the run of Redis that the caller stands on or "" if the hold is not minded, then
--       for each item: id (16), accepted at (6), generation (4), reason
--       for which it is suppressed or 0 (2), number of its stream (2), when it was rendered or 0 (6), entry id (1 + n)
-- Returns for each item: sending, dropped, expired, suppressed, newer or corrupt; packed record. Or, of all, held; the run,
-- for how many ms more nothing may be claimed on it, 1 or 0 as run.lua says
local nonce, lease, provider, own = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local out, taken = {}, {}

if own ~= '' then
  local run, left, waited = hold(NOW, own)
  if run ~= own or left > 0 then
    for i = 1, N do
      out[2 * i - 1], out[2 * i] = 'held', string.format('%s %.0f %d', run, left, waited and 1 or 0)
    end
    return out
  end
end

for i = 1, N do
  local id, accepted_at, generation, reason, s, rendered_at, entry = struct.unpack('>c16I6I4I2I2I6Bc0', ARGV[8 + i])
  local r, problem = record(i)
  local answer, packed = 'dropped', ''
  if problem == 'newer' then
    answer = problem
  elseif problem == 'corrupt' then
    answer = problem
    put(id, nil, DEAD_LETTERS, NOW)
  elseif r and r[ACCEPTED_AT] == accepted_at and r[GENERATION] == generation and not taken[id] then
    if r[STATE] == SENDING and r[NONCE] == nonce then
      -- The same call again, since its server was replaced.
      answer, packed = 'sending', pack(r)
    elseif r[STATE] ~= QUEUED then
      answer = 'dropped'
    elseif r[EXPIRES_AT] <= NOW then
      answer, packed = 'expired', move(i, id, r, EXPIRED, 61)
    elseif reason ~= 0 then
      answer, packed = 'suppressed', move(i, id, r, SUPPRESSED, reason)
    else
      r[ATTEMPT], r[NONCE] = r[ATTEMPT] + 1, nonce
      -- What may have been sent never moves to another provider.
      if r[PROVIDER] == 0 or bit.band(r[FLAGS], MAYBE_SENT) == 0 then r[PROVIDER] = provider end
      answer, packed = 'sending', move(i, id, r, SENDING, 0, NOW + lease)
      if rendered_at > 0 then rendered[#transitions] = rendered_at end
    end
    taken[id] = answer == 'sending'
  end
  if answer ~= 'newer' then acknowledge(s, entry) end
  out[2 * i - 1], out[2 * i] = answer, packed
end
commit('senders')
return reply(out)
