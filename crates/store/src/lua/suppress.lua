#!lua flags=allow-oom
-- suppress: writes who is suppressed, and who no longer is. One step for each entry: what a later revision of the ledger has
-- written stays, so that writes may be repeated and may overtake each other.
-- KEYS  buckets
-- ARGV  for each bucket: how many entries, then of each its field and its value: format (1), revision (6), more; last, "origin" or ""
-- Returns for each entry: written, same (nothing is written then) or older; "". Then the run and the history of this server, if asked
local out, at = {}, 1
for k = 1, #KEYS do
  local last = at + 2 * tonumber(ARGV[at])
  for i = at + 1, last, 2 do
    local stored, word = redis.call('HGET', KEYS[k], ARGV[i]), 'written'
    local _, revision = struct.unpack('>BI6', ARGV[i + 1])
    if stored == ARGV[i + 1] then
      word = 'same'
    elseif stored and #stored > 6 and select(2, struct.unpack('>BI6', stored)) > revision then
      word = 'older'
    else
      redis.call('HSET', KEYS[k], ARGV[i], ARGV[i + 1])
    end
    out[#out + 1], out[#out + 2] = word, ''
  end
  at = last + 1
end
if ARGV[#ARGV] == 'origin' then
  local info = redis.call('INFO', 'server', 'replication')
  out[#out + 1], out[#out + 2] = string.match(info, 'run_id:(%x+)'), string.match(info, 'master_replid:(%x+)')
end
return out
