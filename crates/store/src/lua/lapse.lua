#!lua flags=allow-oom
-- lapse: puts claims whose lease is over in doubt: their sender may have sent. What stands in `open` without being claimed
-- (a record that is gone or elsewhere) leaves it, so that it does not stay at its head for ever.
-- KEYS, ARGV 1-4: see record.lua; no streams
-- ARGV  for each item: id (16), attempt (4), nonce (8) of the claim that was seen to run out
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local CLAIM_LAPSED = 46
local out = {}

for i = 1, N do
  local id, attempt, nonce = struct.unpack('>c16I4c8', ARGV[4 + i])
  local r, problem = record(i)
  local packed
  if r and r[STATE] == SENDING then
    if r[ATTEMPT] == attempt and r[NONCE] == nonce and r[DUE_AT] <= NOW then
      r[FLAGS] = bit.bor(r[FLAGS], MAYBE_SENT)
      packed = move(i, id, r, IN_DOUBT, CLAIM_LAPSED, NOW + r[DOUBT_WINDOW] * 1000)
    end
  else
    stray(id, r, problem, OPEN)
  end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit()
return reply(out)
