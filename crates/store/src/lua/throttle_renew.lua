#!lua flags=allow-oom
-- throttle_renew: keeps the lead for longer, or gives it back. Compared and done in one step, so that a leader whose time is
-- over never touches its successor's.
-- KEYS  1 leader
-- ARGV  1 nonce, 2 epoch, 3 time to live in ms, 0 to give it back
-- Returns 1, or 0 if the lead is another's or nobody's
local leader = redis.call('HMGET', KEYS[1], 'nonce', 'epoch')
if leader[1] ~= ARGV[1] or leader[2] ~= ARGV[2] then return 0 end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
