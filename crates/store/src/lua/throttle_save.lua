#!lua flags=allow-oom
-- throttle_save: writes a key's rate, if the state is still what this leader wrote last. Equality of all three, not order:
-- a state that went backwards (a failover, a restore) must be noticed as much as one that another leader wrote.
-- KEYS  1 state of the key
-- ARGV  1 epoch, 2 nonce, 3 the rev that was written last, 4 rate, 5 version
-- Returns 1 (also to the repetition of a write whose answer was lost), or 0 if fenced
local state = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'rev')
local rev = string.format('%.0f', tonumber(ARGV[3]) + 1)
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return 0 end
if state[3] ~= ARGV[3] and state[3] ~= rev then return 0 end
redis.call('HSET', KEYS[1], 'rev', rev, 'rate', ARGV[4], 'version', ARGV[5])
return 1
