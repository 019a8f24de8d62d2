#!lua flags=allow-oom
-- promote: what is due goes to its queue, or ends if its time is over. What stands in `later` without waiting for a time
-- leaves it.
-- KEYS, ARGV 1-4: see record.lua; streams are the queued ones
-- ARGV  for each item: id (16), number of its stream or 0 (2)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local PAST_EXPIRY = 61
local out = {}

for i = 1, N do
  local id, s = struct.unpack('>c16I2', ARGV[4 + i])
  local r, problem = record(i)
  local packed
  if r and (r[STATE] == SCHEDULED or r[STATE] == DEFERRED) then
    if r[DUE_AT] <= NOW then
      if r[EXPIRES_AT] <= NOW then
        packed = move(i, id, r, EXPIRED, PAST_EXPIRY)
      elseif s > 0 then
        packed = enqueue(i, id, r, 0, s)
      end
    end
  else
    stray(id, r, problem, LATER)
  end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit()
return reply(out)
