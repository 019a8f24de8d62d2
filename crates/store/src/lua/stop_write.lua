#!lua flags=allow-oom
-- stop_write: writes or removes a stop, if it stands as the caller last saw it. A repeated call changes nothing and has the same
-- answer.
-- KEYS  1 stops
-- ARGV  1 id, 2 the stop, "" to remove it, 3 what the caller saw, "" for none, 4 how many there may be, 5 'origin' if the
--       answer is to say where it was given, else ""
-- Returns written, changed (it stands otherwise) or full, and ""; then, if asked, the run and the history of this server
local stored = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local answer = 'written'
if stored ~= ARGV[2] then
  if stored ~= ARGV[3] then
    answer = 'changed'
  elseif ARGV[2] == '' then
    redis.call('HDEL', KEYS[1], ARGV[1])
  elseif stored == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then
    answer = 'full'
  else
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  end
end
local out = { answer, '' }
if ARGV[5] == 'origin' then
  local info = redis.call('INFO', 'server', 'replication')
  out[3], out[4] = string.match(info, 'run_id:(%x+)'), string.match(info, 'master_replid:(%x+)')
end
return out
