#!lua flags=allow-oom
-- settle: acknowledges and deletes entries, and notes that the streams which their messages went on to hold entries. One
-- step: an entry that is gone from here while the way on is noted nowhere would never be read.
-- KEYS  1 active, then A streams to note, then the streams of the entries
-- ARGV  1 group, 2 A, then for each stream of entries: how many, and their ids
-- Returns nothing
local group, noted = ARGV[1], tonumber(ARGV[2])
if noted > 0 then redis.call('SADD', KEYS[1], unpack(KEYS, 2, 1 + noted)) end
local at = 3
for k = 2 + noted, #KEYS do
  local last = at + tonumber(ARGV[at])
  redis.call('XACK', KEYS[k], group, unpack(ARGV, at + 1, last))
  redis.call('XDEL', KEYS[k], unpack(ARGV, at + 1, last))
  at = last + 1
end
return redis.status_reply('OK')
