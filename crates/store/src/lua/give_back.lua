#!lua flags=allow-oom
-- give_back: puts entries that were read and not handled at their stream's end, for whoever reads next. One step, so that
-- an entry is there once; what another has handled meanwhile is not brought back.
-- KEYS  1 active, 2 stream
-- ARGV  1 group, then entry ids
-- Returns nothing
local group, stream, gone = ARGV[1], KEYS[2], {}
for i = 2, #ARGV do
  local entry = redis.call('XRANGE', stream, ARGV[i], ARGV[i])[1]
  if entry and redis.call('XACK', stream, group, ARGV[i]) == 1 then
    redis.call('XADD', stream, '*', unpack(entry[2]))
    gone[#gone + 1] = ARGV[i]
  end
end
if #gone > 0 then
  redis.call('XDEL', stream, unpack(gone))
  redis.call('SADD', KEYS[1], stream)
end
return #gone
