#!lua flags=allow-oom
-- origin: where it is done.
-- KEYS  1 a key of the shard
-- Returns the run and the history of this server
local info = redis.call('INFO', 'server', 'replication')
return { string.match(info, 'run_id:(%x+)'), string.match(info, 'master_replid:(%x+)') }
