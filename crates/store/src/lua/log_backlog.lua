#!lua flags=allow-oom
-- log_backlog: how much a log holds, and for how long its oldest entry has waited for the ledger.
-- KEYS  1 log
-- ARGV  1 the time in ms or "" for Redis's own, 2 group
-- Returns entries; bytes; ms, or 0 if nothing waits
local entries = redis.call('XLEN', KEYS[1])
if entries == 0 then return { 0, 0, 0 } end
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local oldest, delivered
for _, fields in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local info = {}
  for f = 1, #fields, 2 do info[fields[f]] = fields[f + 1] end
  if info.name == ARGV[2] then delivered = info['last-delivered-id'] end
end
if delivered then oldest = redis.call('XPENDING', KEYS[1], ARGV[2])[2] end
if not oldest then
  local first = redis.call('XRANGE', KEYS[1], delivered and '(' .. delivered or '-', '+', 'COUNT', 1)[1]
  oldest = first and first[1]
end
local bytes = redis.call('MEMORY', 'USAGE', KEYS[1])
if not oldest then return { entries, bytes, 0 } end
return { entries, bytes, math.max(now - tonumber(string.match(oldest, '^(%d+)')), 1) }
