#!lua flags=allow-oom
-- expire: ends queued messages whose time is over where nobody reads their entries; one whose time is not over is left as it
-- is, entry and all. An entry that matches no queued record is a second copy and goes, as by claim.lua.
-- KEYS, ARGV 1-4: see record.lua; streams are the ready ones
-- ARGV  for each item: id (16), accepted at (6), generation (4), number of its stream (2), entry id (1 + n)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local PAST_EXPIRY = 61
local out = {}

for i = 1, N do
  local id, accepted_at, generation, s, entry = struct.unpack('>c16I6I4I2Bc0', ARGV[4 + i])
  local r, problem = record(i)
  local packed
  local own = r and r[STATE] == QUEUED and r[ACCEPTED_AT] == accepted_at and r[GENERATION] == generation
  if own and r[EXPIRES_AT] <= NOW then
    packed = move(i, id, r, EXPIRED, PAST_EXPIRY)
  elseif problem == 'corrupt' then
    put(id, nil, DEAD_LETTERS, NOW)
  end
  if problem ~= 'newer' and (packed or not own) then acknowledge(s, entry) end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit('senders')
return reply(out)
