#!lua flags=allow-oom
-- suppression_mark: tells whether a bucket may lack what the ledger has, and notes that it does not.
-- KEYS  1 bucket
-- ARGV  1 "" to look, or the run of Redis for which everything was written: noted only if this still is that run
-- Returns the run of this server, and complete, behind (another run was noted) or empty (none was)
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if ARGV[1] == run then redis.call('HSET', KEYS[1], 'run', run) end
local noted = redis.call('HGET', KEYS[1], 'run')
if not noted then return { run, 'empty' } end
return { run, noted == run and 'complete' or 'behind' }
