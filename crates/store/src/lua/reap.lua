#!lua flags=allow-oom
-- reap: deletes consumers of a group that are idle and have nothing pending. One step: deleting a consumer drops its
-- pending entries, so that it must be seen to have none at that moment.
-- KEYS  1 stream
-- ARGV  1 group, 2 least idle time in ms
-- Returns how many were deleted
local reaped = 0
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local info = {}
  for f = 1, #fields, 2 do info[fields[f]] = fields[f + 1] end
  if info.pending == 0 and info.idle >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], info.name)
    reaped = reaped + 1
  end
end
return reaped
