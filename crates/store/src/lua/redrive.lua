#!lua flags=allow-oom
-- redrive: dead letters go to their queue again, with all their tries. A person may send again what may have been sent.
-- KEYS, ARGV 1-4: see record.lua; streams are the queued ones
-- ARGV  for each item: id (16), number of its stream or 0 (2)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local REDRIVEN = 63
local out = {}

for i = 1, N do
  local id, s = struct.unpack('>c16I2', ARGV[4 + i])
  local r, problem = record(i)
  local packed
  if r and r[STATE] == DEAD and s > 0 then
    r[TRIES] = 0
    packed = enqueue(i, id, r, REDRIVEN, s)
  end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit()
return reply(out)
