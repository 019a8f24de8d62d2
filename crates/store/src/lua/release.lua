#!lua flags=allow-oom
-- release: held messages go back to their queue. What stands in `held` without being held leaves it.
-- KEYS, ARGV 1-4: see record.lua; streams are the queued ones
-- ARGV  for each item: id (16), number of its stream or 0 (2)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local out = {}

for i = 1, N do
  local id, s = struct.unpack('>c16I2', ARGV[4 + i])
  local r, problem = record(i)
  local packed
  if r and r[STATE] == HELD and s > 0 then
    packed = enqueue(i, id, r, 0, s)
  else
    stray(id, r, problem, HELD_BACK)
  end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit()
return reply(out)
