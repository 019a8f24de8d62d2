#!lua flags=allow-oom
-- cancel: ends messages that no sender has claimed. What is claimed, or may have been sent, can't be called back.
-- KEYS, ARGV 1-4: see record.lua; no streams
-- ARGV  for each item: id (16)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local CANCELLED_BY_CALLER = 60
local CANCELLABLE = { [SCHEDULED] = true, [QUEUED] = true, [DEFERRED] = true, [HELD] = true }
local out = {}

for i = 1, N do
  local id = ARGV[4 + i]
  local r, problem = record(i)
  local packed
  if r and CANCELLABLE[r[STATE]] then
    packed = move(i, id, r, CANCELLED, CANCELLED_BY_CALLER)
  end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit()
return reply(out)
