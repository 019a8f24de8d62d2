#!lua
-- enqueue: accepts messages, each at most once. The duplicate check and the acceptance are one step, so that of two
-- callers with one message exactly one creates it. Without allow-oom: a full Redis refuses the batch as a whole.
-- KEYS, ARGV 1-4: see record.lua; streams are the queued ones
-- ARGV  for each item: id (16), ttl in ms (6), number of its stream (2), resubmit (1), for the log (rest); packed wish; request
-- Returns for each item: new, duplicate, resubmitted, conflict, newer or corrupt; packed record
local out = {}

local BULK = 8

-- What a call asks for anew of a message that is there: the lane, and the identity. Of the other texts it says the same.
local function ask_anew(r, wish)
  r[TRIES], r[TAIL] = 0, wish[TAIL]
  r[FLAGS] = bit.bor(bit.band(r[FLAGS], bit.bnot(BULK)), bit.band(wish[FLAGS], BULK))
end

-- Times and place of an acceptance, or of the next one of the same message.
local function accept(i, id, r, wish, ttl, reason, s)
  local send_at, wished = wish[SEND_AT], wish[EXPIRES_AT]
  local bound = math.min(math.max(send_at, NOW) + ttl, TIME_MAX)
  r[SEND_AT], r[EXPIRES_AT] = send_at, wished > 0 and math.min(wished, bound) or bound
  redis.call('SET', request_key(i), ARGV[3 * i + 4])
  logged[#logged + 1] = string.sub(ARGV[3 * i + 2], 26)
  if send_at <= NOW then return enqueue(i, id, r, reason, s) end
  r[GENERATION] = r[GENERATION] + 1
  return move(i, id, r, SCHEDULED, reason, send_at)
end

local function may_resubmit(r)
  return (ENDED[r[STATE]] or r[STATE] == DEAD) and r[STATE] ~= ACCEPTED and bit.band(r[FLAGS], MAYBE_SENT) == 0
end

local function same_digests(r, wish)
  local stored, wished = pack(r), pack(wish)
  return string.sub(stored, digests_at(stored)) == string.sub(wished, digests_at(wished))
end

for i = 1, N do
  local id, ttl, s, resubmit = struct.unpack('>c16I6I2B', ARGV[3 * i + 2])
  local wish = parse(ARGV[3 * i + 3])
  local r, problem = record(i)
  local answer, packed = problem, ''
  if problem == 'missing' then
    wish[REVISION], wish[GENERATION], wish[ACCEPTED_AT], wish[STATE] = 0, 0, NOW, 0
    answer, packed = 'new', accept(i, id, wish, wish, ttl, 0, s)
    records[record_key(i)], problems[record_key(i)] = wish, nil
  elseif r and resubmit == 1 and may_resubmit(r) then
    if same_digests(r, wish) then
      ask_anew(r, wish)
      answer, packed = 'resubmitted', accept(i, id, r, wish, ttl, 64, s)
    else
      answer, packed = 'conflict', pack(r)
    end
  elseif r then
    answer, packed = 'duplicate', pack(r)
  end
  out[2 * i - 1], out[2 * i] = answer, packed
end
commit('renderers')
return reply(out)
