#!lua flags=allow-oom
-- log_group: makes the group that copies a log into the ledger, from the log's first entry. A full Redis refuses the plain
-- command, and there the log must be copied all the more.
-- KEYS  1 log
-- ARGV  1 group
-- Returns nothing
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
return false
