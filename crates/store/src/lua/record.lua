-- Shared by every script that moves records: the arguments, the stored form (packed.rs documents it), and reading.
--
-- KEYS  1 log, 2 active, 3 open, 4 later, 5 doubt, 6 dead, 7 held, then S streams, N records, N requests
-- ARGV  1 the time in ms or "" for Redis's own, 2 bound of the log or "" if only what was copied is cut off, 3 S, 4 N, then the script's own; the last but one: what a person
--       did, for the log, else ""; the last: 'origin' if the answer is to say where it was given, else ""
-- All records are read and checked before the first write: a script that fails midway is not rolled back.
local LOG, ACTIVE, OPEN, LATER, DOUBT, DEAD_LETTERS, HELD_BACK = unpack(KEYS, 1, 7)
local LOG_MAX, STREAMS, N = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ACT = ARGV[#ARGV - 1]
local TIME_MAX = 281474976710655

-- Read once: TIME goes on inside a script.
local NOW = tonumber(ARGV[1])
if not NOW then
  local time = redis.call('TIME')
  NOW = time[1] * 1000 + math.floor(time[2] / 1000)
end

local QUEUED, SCHEDULED, SENDING, DEFERRED, IN_DOUBT, HELD = 113, 99, 115, 102, 105, 104
local ACCEPTED, DEAD, CANCELLED, EXPIRED, SUPPRESSED, DISCARDED = 97, 100, 110, 101, 117, 120
local MAYBE_SENT, RESENT, RESEND = 1, 2, 4

-- Places in an unpacked record. TAIL is what only a resubmission changes: tenant, template, identity, digests.
local FORM = '>BBBBI4I4I4I4I6I6I6I6I6c8I2I4I4BBc0'
local STATE, FLAGS, PROVIDER, REVISION, ATTEMPT, GENERATION, TRIES = 2, 3, 4, 5, 6, 7, 8
local ACCEPTED_AT, CHANGED_AT, SEND_AT, EXPIRES_AT, DUE_AT, NONCE, REASON = 9, 10, 11, 12, 13, 14, 15
local DOUBT_WINDOW, DEDUPE_WINDOW, TRIES_MAX, ID_LENGTH, PROVIDER_ID, TAIL = 16, 17, 18, 19, 20, 21
local STATES = 'qcsfihadneux'

-- Where the digests start in a whole record (their two bytes of length), or nil if it does not read.
local function digests_at(raw)
  local at = 70
  for _ = 1, 4 do
    local length = string.byte(raw, at)
    if not length then return nil end
    at = at + 1 + length
  end
  local high, low = string.byte(raw, at, at + 1)
  return low and at + 1 + high * 256 + low == #raw and at or nil
end

-- The unpacked record, or nil and why there is none.
local function parse(raw)
  if not raw then return nil, 'missing' end
  local format, state, flags, provider = string.byte(raw, 1, 4)
  if format and format > 1 then return nil, 'newer' end
  if format ~= 1 or not provider or flags > 31 then return nil, 'corrupt' end
  if not string.find(STATES, string.char(state), 1, true) or not digests_at(raw) then return nil, 'corrupt' end
  -- A provider of a release to come is a format to come.
  if provider > 2 then return nil, 'newer' end
  local r = { struct.unpack(FORM, raw) }
  local provider_id, rest = r[19], r[20]
  r[ID_LENGTH], r[PROVIDER_ID], r[TAIL] = #provider_id, provider_id, string.sub(raw, rest)
  return r
end

local function pack(r)
  return struct.pack(FORM .. 'c0', unpack(r, 1, TAIL))
end
