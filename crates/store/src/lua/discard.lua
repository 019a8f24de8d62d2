#!lua flags=allow-oom
-- discard: dead letters are given up; their requests go.
-- KEYS, ARGV 1-4: see record.lua; no streams
-- ARGV  for each item: id (16)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local DISCARDED_BY_OPERATOR = 65
local out = {}

for i = 1, N do
  local id = ARGV[4 + i]
  local r, problem = record(i)
  local packed
  if r and r[STATE] == DEAD then
    packed = move(i, id, r, DISCARDED, DISCARDED_BY_OPERATOR)
  end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit()
return reply(out)
