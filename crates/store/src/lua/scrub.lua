#!lua flags=allow-oom
-- scrub: open messages that no sorted set names are put back into theirs; queued ones that were seen to have no entry get a
-- new one, with the next generation, so that an old entry that was overlooked is worth nothing. The look and the repair are
-- one step. A record that can't be read is shown among the dead letters.
-- KEYS, ARGV 1-4: see record.lua; streams are the queued ones
-- ARGV  for each item: id (16), accepted at (6), generation (4), number of its stream, 0 if its entry was not looked for (2)
-- Returns for each item: named, indexed, newer or orphan (a request without a record); packed record
local out = {}

for i = 1, N do
  local id, accepted_at, generation, s = struct.unpack('>c16I6I4I2', ARGV[4 + i])
  local r, problem = record(i)
  local place = r and PLACE[r[STATE]] or problem == 'corrupt' and DEAD_LETTERS
  local answer, packed = 'named', ''
  if problem == 'newer' then
    answer = problem
  elseif problem == 'missing' then
    if redis.call('EXISTS', request_key(i)) == 1 then answer = 'orphan' end
  elseif place then
    if not redis.call('ZSCORE', place, id) then
      put(id, nil, place, r and (r[DUE_AT] > 0 and r[DUE_AT] or r[CHANGED_AT]) or NOW)
      answer, packed = 'indexed', r and pack(r) or ''
    end
  elseif s > 0 and r[STATE] == QUEUED and r[ACCEPTED_AT] == accepted_at and r[GENERATION] == generation then
    answer, packed = 'indexed', enqueue(i, id, r, 0, s)
  end
  out[2 * i - 1], out[2 * i] = answer, packed
end
commit()
return reply(out)
