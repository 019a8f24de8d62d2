#!lua flags=allow-oom
-- bury: queued messages that can't be rendered go to the dead letters; their entries go. An entry that is not the
-- record's own goes alone. A record that can't be read is shown among the dead letters by its id.
-- KEYS, ARGV 1-4: see record.lua; streams are the queued ones
-- ARGV  for each item: id (16), accepted at (6), generation (4), reason (2), number of its stream (2), entry id (1 + n)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local out = {}

for i = 1, N do
  local id, accepted_at, generation, reason, s, entry = struct.unpack('>c16I6I4I2I2Bc0', ARGV[4 + i])
  local r, problem = record(i)
  local packed
  if r and r[STATE] == QUEUED and r[ACCEPTED_AT] == accepted_at and r[GENERATION] == generation then
    packed = move(i, id, r, DEAD, reason)
  elseif problem == 'corrupt' then
    put(id, nil, DEAD_LETTERS, NOW)
  end
  if problem ~= 'newer' then acknowledge(s, entry) end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit('renderers')
return reply(out)
