#!lua flags=allow-oom
-- throttle_adopt: a new leader makes a key's state its own, so that no older leader can write it any more.
-- KEYS  1 state of the key
-- ARGV  1 epoch, 2 nonce
-- Returns {1, rev, rate, version} (rate and version false if there is no state yet), or {0, epoch} if the state is of a newer
-- epoch, or of this one and another leader
local state = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'rev', 'rate', 'version')
local stored, mine = tonumber(state[1] or '0') or 0, tonumber(ARGV[1])
if stored > mine or (stored == mine and state[2] ~= ARGV[2]) then return { 0, state[1] } end
local rev = string.format('%.0f', (tonumber(state[3] or '0') or 0) + 1)
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'nonce', ARGV[2], 'rev', rev)
return { 1, rev, state[4], state[5] }
