#!lua flags=allow-oom
-- cancel: ends messages that no sender has claimed, by the caller's wish or by a stop. What is claimed, or may have been sent,
-- can't be called back.
-- KEYS, ARGV 1-4: see record.lua; no streams
-- ARGV  5 the reason, then for each item: id (16)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local reason = tonumber(ARGV[5])
local CANCELLABLE = { [SCHEDULED] = true, [QUEUED] = true, [DEFERRED] = true, [HELD] = true }
local out = {}

for i = 1, N do
  local id = ARGV[5 + i]
  local r, problem = record(i)
  local packed
  if r and CANCELLABLE[r[STATE]] then
    packed = move(i, id, r, CANCELLED, reason)
  end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit()
return reply(out)
