#!lua flags=allow-oom
-- erase: ends messages whose recipient is erased wherever they wait: what waits to be sent is cancelled, dead letters and doubts
-- are given up, and their requests go. What is being sent is left.
-- KEYS, ARGV 1-4: see record.lua; no streams
-- ARGV  for each item: id (16)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local ERASED = 69
local END = {
  [SCHEDULED] = CANCELLED, [QUEUED] = CANCELLED, [DEFERRED] = CANCELLED, [HELD] = CANCELLED,
  [DEAD] = DISCARDED, [IN_DOUBT] = DISCARDED,
}
local out = {}

for i = 1, N do
  local id = ARGV[4 + i]
  local r, problem = record(i)
  local packed
  if r and END[r[STATE]] then
    packed = move(i, id, r, END[r[STATE]], ERASED)
  end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit()
return reply(out)
