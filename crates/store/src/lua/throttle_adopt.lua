#!lua flags=allow-oom
-- throttle_adopt: a new leader makes a key's state its own, so that no older leader can write it any more. A second call of the same
-- leader changes nothing, and has the same answer. What does not fit is dropped here, so that it can't come to fit later:
-- - the journal, if it is not of this state (which is gone, or went backwards);
-- - the lease table, if the journal is not whole (a leader of before journals wrote last), if it is itself not as new as the state,
--   if this is another run of Redis or a replica made primary (which may lack the newest writes), or if the state is older than what
--   the caller knows to have been: an epoch in which somebody led, or a rev that it wrote itself.
-- KEYS  1 state of the key, 2 its lease table, 3 its journal
-- ARGV  1 epoch, 2 nonce, 3 the newest format that the caller reads, 4 the largest epoch before that it knows of, 5 and 6 epoch and rev
--       that it wrote last itself, 0 if none
-- Returns {1, rev, rate, version, whole, table, lost, rev of the last snapshot, bytes of the
-- journal with it} (what is not there is false; whole, table, lost: 1 or 0; lost
-- if the caller's own last write is), {0, epoch} if the state is of a newer epoch, or of this one and another leader, or {2, format} if
-- it is of a newer format
local state = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'rev', 'rate', 'version', 'format', 'kept', 'snapshot', 'run', 'whole', 'table', 'lost', 'bytes')
local stored, mine = tonumber(state[1] or '0') or 0, tonumber(ARGV[1])
if stored > mine or (stored == mine and state[2] ~= ARGV[2]) then return { 0, state[1] } end
if (tonumber(state[6] or '0') or 0) > tonumber(ARGV[3]) then return { 2, state[6] } end
if stored == mine then return { 1, state[3], state[4], state[5], state[10], state[11], state[12], state[8], state[13] } end

local info = redis.call('INFO', 'server', 'replication')
local run = string.match(info, 'run_id:(%x+)') .. ':' .. string.match(info, 'master_replid:(%x+)')
local before = tonumber(state[3] or '0') or 0
local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
local of_this = state[8] and newest and tonumber(string.match(newest[1], '^%d+')) <= before
if not of_this then redis.call('DEL', KEYS[3]) end
local lost = stored < tonumber(ARGV[5]) or (stored == tonumber(ARGV[5]) and before < tonumber(ARGV[6]))
local whole = of_this and state[7] == state[3]
local fits = whole and state[9] == run and stored >= tonumber(ARGV[4]) and not lost and redis.call('HGET', KEYS[2], 'rev') == state[3]
local rev = string.format('%.0f', before + 1)
if fits then redis.call('HSET', KEYS[2], 'rev', rev) else redis.call('DEL', KEYS[2]) end
local function flag(is) return is and '1' or '0' end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'nonce', ARGV[2], 'rev', rev, 'run', run, 'whole', flag(whole), 'table', flag(fits), 'lost', flag(lost))
if whole then redis.call('HSET', KEYS[1], 'kept', rev) end
if not of_this then redis.call('HDEL', KEYS[1], 'snapshot') end
return { 1, rev, state[4], state[5], flag(whole), flag(fits), flag(lost), of_this and state[8], state[13] }
