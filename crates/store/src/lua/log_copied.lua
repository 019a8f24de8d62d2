#!lua flags=allow-oom
-- log_copied: acknowledges entries of a log that are in the ledger, and cuts off what every copier is done with. One step: what
-- is cut lies before the oldest entry that is pending or was not delivered, so that nothing unread is ever lost. The newest
-- entries stay for a while, for watchers.
-- KEYS  1 log
-- ARGV  1 the time in ms or "" for Redis's own, 2 group, 3 for how many ms entries stay, then entry ids
-- Returns how many entries were cut off
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
if #ARGV > 3 then redis.call('XACK', KEYS[1], ARGV[2], unpack(ARGV, 4)) end

local function milliseconds(id) return tonumber(string.match(id, '^(%d+)')) end

-- The oldest entry that somebody still needs: pending, or else the last one delivered.
local oldest = redis.call('XPENDING', KEYS[1], ARGV[2])[2]
if not oldest then
  for _, fields in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local info = {}
    for f = 1, #fields, 2 do info[fields[f]] = fields[f + 1] end
    if info.name == ARGV[2] then oldest = info['last-delivered-id'] end
  end
end
local tail = now - tonumber(ARGV[3])
if not oldest or tail <= 0 then return 0 end
if milliseconds(oldest) > tail then oldest = string.format('%.0f', tail) end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', oldest)
