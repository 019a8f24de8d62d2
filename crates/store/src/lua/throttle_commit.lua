#!lua flags=allow-oom
-- throttle_commit: writes what became of a key since the commit before, if the state is still what this leader wrote last: what happened
-- to the journal, what is granted to the lease table. Equality of all three, not order: a state that went backwards (a failover, a
-- restore) must be noticed as much as one that another leader wrote. Cuts are published only if all that is written.
-- KEYS  1 state of the key, 2 its lease table, 3 its journal
-- ARGV  1 epoch, 2 nonce, 3 the rev that was written last, 4 rate, 5 version, 6 format, 7 events ('' for none), 8 snapshot ('' for none),
--       9 the first rev of the journal that is kept ('' for all), 10 1 if the table knows every living lease, 11 bytes of the journal with
--       the snapshot, 12 channel, 13 how many leases are written, 14 how many are struck out; then sender and lease of each that is written, the senders of those struck
--       out, and the cuts
-- Returns 1 (also to the repetition of a write whose answer was lost, which changes nothing), or 0 if fenced
local state = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'rev')
local rev = string.format('%.0f', tonumber(ARGV[3]) + 1)
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return 0 end
if state[3] == rev then return 1 end
if state[3] ~= ARGV[3] then return 0 end

local written, struck, at = 2 * tonumber(ARGV[13]), tonumber(ARGV[14]), 15
-- Lua puts no more than some thousand values into one call.
local function in_parts(command, from, count)
  for first = from, from + count - 1, 1000 do
    redis.call(command, KEYS[2], unpack(ARGV, first, math.min(first + 999, from + count - 1)))
  end
end
in_parts('HSET', at, written)
in_parts('HDEL', at + written, struck)
redis.call('HSET', KEYS[2], 'rev', ARGV[10] == '1' and rev or '')

if ARGV[7] ~= '' then redis.call('XADD', KEYS[3], rev .. '-1', 'f', ARGV[6], 'e', ARGV[1], 'events', ARGV[7]) end
if ARGV[8] ~= '' then
  redis.call('XADD', KEYS[3], rev .. '-2', 'f', ARGV[6], 'e', ARGV[1], 'opened', ARGV[8])
  redis.call('HSET', KEYS[1], 'snapshot', rev, 'bytes', ARGV[11])
end
if ARGV[9] ~= '' then redis.call('XTRIM', KEYS[3], 'MINID', ARGV[9] .. '-2') end
-- Last: where it stands, all of the above does.
redis.call('HSET', KEYS[1], 'rev', rev, 'kept', rev, 'rate', ARGV[4], 'version', ARGV[5], 'format', ARGV[6])
for cut = at + written + struck, #ARGV do redis.call('PUBLISH', ARGV[12], ARGV[cut]) end
return 1
