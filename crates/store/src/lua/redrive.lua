#!lua flags=allow-oom
-- redrive: dead letters go to their queue again, with all their tries, and where it is wished for by another version of their
-- template: their requests are replaced in the same step. A person may send again what may have been sent.
-- KEYS, ARGV 1-4: see record.lua; streams are the queued ones
-- ARGV  for each item: id (16), number of its stream or 0 (2); the request that replaces its own, or ""
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local REDRIVEN = 63
local out = {}

for i = 1, N do
  local id, s = struct.unpack('>c16I2', ARGV[3 + 2 * i])
  local r, problem = record(i)
  local packed
  if r and r[STATE] == DEAD and s > 0 then
    r[TRIES] = 0
    local request = ARGV[4 + 2 * i]
    if #request > 0 then redis.call('SET', request_key(i), request) end
    packed = enqueue(i, id, r, REDRIVEN, s)
  end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit()
return reply(out)
