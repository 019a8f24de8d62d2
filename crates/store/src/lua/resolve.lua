#!lua flags=allow-oom
-- resolve: ends doubts whose window for evidence is over, by the record's policy: once more to the queue (at most once per
-- acceptance, never past its end), or to the dead letters. What stands in `doubt` without being in doubt leaves it.
-- KEYS, ARGV 1-4: see record.lua; streams are the queued ones
-- ARGV  for each item: id (16), attempt (4), nonce (8) of the claim in doubt, number of its stream or 0 (2)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local DOUBT_UNSETTLED, DOUBT_RESENT = 47, 48
local out = {}

for i = 1, N do
  local id, attempt, nonce, s = struct.unpack('>c16I4c8I2', ARGV[4 + i])
  local r, problem = record(i)
  local packed
  if r and r[STATE] == IN_DOUBT then
    if s > 0 and r[ATTEMPT] == attempt and r[NONCE] == nonce and r[DUE_AT] <= NOW then
      if bit.band(r[FLAGS], RESEND + RESENT) == RESEND and r[EXPIRES_AT] > NOW then
        r[FLAGS] = bit.bor(r[FLAGS], RESENT)
        packed = enqueue(i, id, r, DOUBT_RESENT, s)
      else
        packed = move(i, id, r, DEAD, DOUBT_UNSETTLED)
      end
    end
  else
    stray(id, r, problem, DOUBT)
  end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit()
return reply(out)
