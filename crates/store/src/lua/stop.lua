#!lua flags=allow-oom
-- stop: queued messages that a stop meets are held, or end as cancelled; their entries go. An entry that is not the record's
-- own is a second copy and goes alone. A record that can't be read is shown among the dead letters by its id.
-- KEYS, ARGV 1-4: see record.lua; streams of one stage
-- ARGV  5 the group of that stage, then for each item: id (16), accepted at (6), generation (4), 1 to cancel (1), number of its
--       stream (2), entry id (1 + n)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local STOPPED = 66
local out = {}

for i = 1, N do
  local id, accepted_at, generation, cancel, s, entry = struct.unpack('>c16I6I4BI2Bc0', ARGV[5 + i])
  local r, problem = record(i)
  local packed
  if r and r[STATE] == QUEUED and r[ACCEPTED_AT] == accepted_at and r[GENERATION] == generation then
    packed = move(i, id, r, cancel == 1 and CANCELLED or HELD, STOPPED)
  elseif problem == 'corrupt' then
    put(id, nil, DEAD_LETTERS, NOW)
  end
  if problem ~= 'newer' then acknowledge(s, entry) end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit(ARGV[5])
return reply(out)
