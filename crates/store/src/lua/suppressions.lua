#!lua flags=no-writes
-- suppressions: what is written for some addresses. Several buckets in one call, since a command for each costs more than
-- the look-up.
-- KEYS  buckets
-- ARGV  for each bucket: how many fields, and the fields
-- Returns for each field its value, or "" for none
local out, at = {}, 1
for k = 1, #KEYS do
  local last = at + tonumber(ARGV[at])
  for _, value in ipairs(redis.call('HMGET', KEYS[k], unpack(ARGV, at + 1, last))) do
    out[#out + 1] = value or ''
  end
  at = last + 1
end
return out
