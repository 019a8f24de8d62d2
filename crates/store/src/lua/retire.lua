#!lua flags=allow-oom
-- retire: takes streams without entries from the active ones. The look and the removal are one step, so that no entry
-- that comes between them is forgotten. The streams and their groups stay.
-- KEYS  1 active, then streams
-- Returns how many were taken off
local retired = 0
for k = 2, #KEYS do
  if redis.call('XLEN', KEYS[k]) == 0 then retired = retired + redis.call('SREM', KEYS[1], KEYS[k]) end
end
return retired
