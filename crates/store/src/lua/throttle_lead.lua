#!lua flags=allow-oom
-- throttle_lead: takes the lead of the throttle coordinators if nobody has it. Looking and taking are one step, so that two
-- never both find the place free. The epoch is past every one that was ever seen, by the counter or by the caller: a counter
-- that Redis lost must not give an epoch twice.
-- KEYS  1 leader, 2 epoch counter
-- ARGV  1 address, 2 nonce, 3 time to live in ms, 4 the largest epoch that the caller knows of
-- Returns {1, epoch, Redis's time in us} to the leader (again, too: the same nonce renews), {0, epoch, address} to others
local time = redis.call('TIME')
local micros = string.format('%.0f', time[1] * 1000000 + time[2])
local leader = redis.call('HMGET', KEYS[1], 'nonce', 'epoch', 'address')
if leader[1] and leader[1] ~= ARGV[2] then return { 0, leader[2], leader[3] } end
if leader[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return { 1, leader[2], micros }
end
local counted = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
local epoch = string.format('%.0f', math.max(counted, tonumber(ARGV[4])) + 1)
redis.call('SET', KEYS[2], epoch)
redis.call('HSET', KEYS[1], 'nonce', ARGV[2], 'epoch', epoch, 'address', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { 1, epoch, micros }
