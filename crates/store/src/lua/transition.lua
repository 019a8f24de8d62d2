-- Shared by every script that moves records: one table for each key (two items of a batch may name one message, and the
-- second must see what the first did), and the move itself.
local raws = redis.call('MGET', unpack(KEYS, 8 + STREAMS, 7 + STREAMS + N))
local records, problems = {}, {}
local membership, unlinked, acknowledged, activated, transitions = {}, {}, {}, {}, {}
local logged, rendered = {}, {}
local PLACE = {
  [SENDING] = OPEN, [SCHEDULED] = LATER, [DEFERRED] = LATER, [IN_DOUBT] = DOUBT, [DEAD] = DEAD_LETTERS, [HELD] = HELD_BACK,
}
local ENDED = { [ACCEPTED] = true, [CANCELLED] = true, [EXPIRED] = true, [SUPPRESSED] = true, [DISCARDED] = true }

local function record_key(i) return KEYS[7 + STREAMS + i] end
local function request_key(i) return KEYS[7 + STREAMS + N + i] end

for i = 1, N do
  local key = record_key(i)
  if not records[key] and not problems[key] then records[key], problems[key] = parse(raws[i]) end
end

-- The record of item i, or nil and why there is none.
local function record(i)
  local key = record_key(i)
  return records[key], problems[key]
end

-- Puts the id into the sorted set `place` (nil: into none) and takes it out of the one where it was.
local function put(id, from, place, score)
  local member = membership[id]
  if not member then
    member = { from = from }
    membership[id] = member
  end
  member.place, member.score = place, score
end

-- Moves the record of item i and stores it: revision + 1, due at `due` (0 or nil for never). Returns the packed record.
local function move(i, id, r, state, reason, due)
  local from, place = PLACE[r[STATE]], PLACE[state]
  r[STATE], r[REASON], r[DUE_AT] = state, reason, math.min(due or 0, TIME_MAX)
  r[REVISION], r[CHANGED_AT] = r[REVISION] + 1, NOW
  if from or place or membership[id] then
    put(id, from, place, r[DUE_AT] > 0 and r[DUE_AT] or NOW)
  end
  local packed = pack(r)
  if ENDED[state] then
    redis.call('SET', record_key(i), packed, 'EX', math.max(r[DEDUPE_WINDOW], 1))
    unlinked[#unlinked + 1] = request_key(i)
  else
    redis.call('SET', record_key(i), packed)
  end
  transitions[#transitions + 1] =
    struct.pack('>c16I6I4BI2I4I6', id, r[ACCEPTED_AT], r[REVISION], state, reason, r[ATTEMPT], NOW)
  return packed
end

-- Moves the record into its queue, stream number s, with a ticket that no older entry matches.
local function enqueue(i, id, r, reason, s)
  local stream = KEYS[7 + s]
  r[GENERATION] = r[GENERATION] + 1
  redis.call('XADD', stream, '*', 'e', struct.pack('>c16I6I4', id, r[ACCEPTED_AT], r[GENERATION]))
  activated[stream] = true
  return move(i, id, r, QUEUED, reason)
end
