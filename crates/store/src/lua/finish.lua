#!lua flags=allow-oom
-- finish: writes what came of claims. A positive result is evidence and applies in every state; any other one only while
-- the claim (attempt, nonce) is the record's own. Allowed at OOM: what was sent must be recordable.
-- KEYS, ARGV 1-4: see record.lua; no streams
-- ARGV  for each item: id (16), attempt (4), nonce (8), outcome's letter (1), reason (2), delay in ms (6), provider id (1 + n)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local TRIES_EXHAUSTED = 12
local A, R, F, D, U = string.byte('ARFDU', 1, 5)
local out = {}

local function defer(i, id, r, reason, delay)
  return move(i, id, r, DEFERRED, reason, math.min(NOW + delay, r[EXPIRES_AT]))
end

local function fail(i, id, r, reason, delay)
  r[TRIES] = r[TRIES] + 1
  if r[TRIES] >= r[TRIES_MAX] then return move(i, id, r, DEAD, TRIES_EXHAUSTED) end
  return defer(i, id, r, reason, delay)
end

local function doubt(i, id, r, reason)
  r[FLAGS] = bit.bor(r[FLAGS], MAYBE_SENT)
  return move(i, id, r, IN_DOUBT, reason, NOW + r[DOUBT_WINDOW] * 1000)
end

for i = 1, N do
  local id, attempt, nonce, outcome, reason, delay, provider_id = struct.unpack('>c16I4c8BI2I6Bc0', ARGV[4 + i])
  local r, problem = record(i)
  local packed
  if r and outcome == A and r[STATE] ~= ACCEPTED then
    if #provider_id > 0 then r[ID_LENGTH], r[PROVIDER_ID] = #provider_id, provider_id end
    packed = move(i, id, r, ACCEPTED, 0)
  elseif r and (r[STATE] == SENDING or r[STATE] == IN_DOUBT) and r[ATTEMPT] == attempt and r[NONCE] == nonce then
    if outcome == R then
      packed = move(i, id, r, DEAD, reason)
    elseif outcome == F then
      packed = fail(i, id, r, reason, delay)
    elseif outcome == D then
      packed = defer(i, id, r, reason, delay)
    elseif outcome == U and r[STATE] == SENDING then
      packed = doubt(i, id, r, reason)
    end
  end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit()
return reply(out)
