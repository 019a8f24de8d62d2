#!lua flags=no-writes
-- due: the ids of a sorted set whose time has come by Redis's own clock, earliest first.
-- KEYS  1 set
-- ARGV  1 the time in ms or "" for Redis's own, 2 how many at most, 3 how many to leave out before them
-- Returns id, score, id, score, ...
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
return redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', ARGV[3], ARGV[2], 'WITHSCORES')
