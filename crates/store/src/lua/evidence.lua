#!lua flags=allow-oom
-- evidence: writes what providers' events show. "Sent" applies in every state: refusing it anywhere would let a later
-- redrive or resend send twice with the proof in hand. "Not sent" speaks for its own attempt only.
-- KEYS, ARGV 1-4: see record.lua; no streams
-- ARGV  for each item: id (16), 1 if sent (1), provider (1), attempt (4), reason (2), delay in ms (6), provider id (1 + n)
-- Returns for each item: moved, unchanged, missing, newer or corrupt; packed record
local EVENT_SAYS_SENT = 67
local out = {}

for i = 1, N do
  local id, sent, provider, attempt, reason, delay, provider_id = struct.unpack('>c16BBI4I2I6Bc0', ARGV[4 + i])
  local r, problem = record(i)
  local packed
  if r and sent == 1 and r[STATE] ~= ACCEPTED then
    r[PROVIDER] = provider
    if #provider_id > 0 then r[ID_LENGTH], r[PROVIDER_ID] = #provider_id, provider_id end
    packed = move(i, id, r, ACCEPTED, EVENT_SAYS_SENT)
  elseif r and sent == 0 and r[STATE] == IN_DOUBT and r[ATTEMPT] == attempt then
    packed = move(i, id, r, DEFERRED, reason, math.min(NOW + delay, r[EXPIRES_AT]))
  end
  out[2 * i - 1] = problem or packed and 'moved' or 'unchanged'
  out[2 * i] = packed or r and pack(r) or ''
end
commit()
return reply(out)
