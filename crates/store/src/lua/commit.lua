-- Shared by every script that moves records: what is noted for the batch, and `commit`, which writes sets, streams and log
-- once for all of it.

-- The entry of stream number s is done with.
local function acknowledge(s, entry)
  local entries = acknowledged[s]
  if entries then entries[#entries + 1] = entry else acknowledged[s] = { entry } end
end

-- The id stands in the sorted set `place`, and its record is not in that state: takes it out. A record that can't be read
-- is shown among the dead letters instead; one of a newer format is left to those who can read it.
local function stray(id, r, problem, place)
  if problem == 'newer' or r and PLACE[r[STATE]] == place then return end
  if problem == 'corrupt' then
    put(id, place, DEAD_LETTERS, NOW)
  elseif not membership[id] then
    put(id, place, r and PLACE[r[STATE]], r and (r[DUE_AT] > 0 and r[DUE_AT] or r[CHANGED_AT]))
  end
end

-- Writes what is noted. `group` is the one that acknowledged entries were delivered to.
local function commit(group)
  local left, entered, active = {}, {}, {}
  for id, member in pairs(membership) do
    if member.from and member.from ~= member.place then
      local ids = left[member.from] or {}
      ids[#ids + 1] = id
      left[member.from] = ids
    end
    if member.place then
      local scored = entered[member.place] or {}
      scored[#scored + 1], scored[#scored + 2] = member.score, id
      entered[member.place] = scored
    end
  end
  for place, ids in pairs(left) do redis.call('ZREM', place, unpack(ids)) end
  for place, scored in pairs(entered) do redis.call('ZADD', place, unpack(scored)) end
  if #unlinked > 0 then redis.call('UNLINK', unpack(unlinked)) end
  for s, entries in pairs(acknowledged) do
    redis.call('XACK', KEYS[7 + s], group, unpack(entries))
    redis.call('XDEL', KEYS[7 + s], unpack(entries))
  end
  for stream in pairs(activated) do active[#active + 1] = stream end
  if #active > 0 then redis.call('SADD', ACTIVE, unpack(active)) end
  if #transitions > 0 then
    local entry = LOG_MAX == '' and { LOG, '*' } or { LOG, 'MAXLEN', '~', LOG_MAX, '*' }
    local function field(name, v) if v ~= '' then entry[#entry + 1], entry[#entry + 2] = name, v end end
    field('e', table.concat(transitions))
    -- Several `LoggedMessages` one after the other are one with all their messages.
    field('n', table.concat(logged))
    field('a', ACT)
    if next(rendered) then
      for n = 1, #transitions do rendered[n] = struct.pack('>I6', rendered[n] or 0) end
      field('r', table.concat(rendered, '', 1, #transitions))
    end
    redis.call('XADD', unpack(entry))
  end
end

-- What the script answers: `out`, and where it was done if the caller asks: the run and the history of this very server, which
-- no connection could tell without a gap.
local function reply(out)
  if ARGV[#ARGV] == 'origin' then
    local info = redis.call('INFO', 'server', 'replication')
    out[#out + 1], out[#out + 2] = string.match(info, 'run_id:(%x+)'), string.match(info, 'master_replid:(%x+)')
  end
  return out
end
