-- The limits of managed clients. keypool/callers.py does the same in Python; a test runs both side by side. Times in epoch
-- milliseconds: of the pool's clock, but for days and expiry, which are of Redis's own.
--
-- A request holds things from its first lease to its end, under the name of its slot:
--   client_slots    zset slot -> time it is void
--   client_held     hash slot -> 'streams reserved ended', and under these three names the sums over all slots.
--                   reserved: tokens that the request is expected to use. ended: tokens that it has used, from its end until
--                   the ledger has them in client_day.
--   client_waiting  hash slot -> 'since until streams why': requests that wait for a place, in the order of 'since'. One that
--                   does not ask again before 'until' is gone.
local CLIENT_BUSY_MS, CLIENT_WAITING_MS, CLIENT_MAX_WAITING = 1000, 2000, 32
local MINUTE_MS, DAY_MS = 60000, 86400000

local function count_of(value) return tonumber(value or 0) or 0 end

-- 20260131 for the number of a day since 1970 (https://howardhinnant.github.io/date_algorithms.html#civil_from_days).
local function day_name(days)
  local from_march = days + 719468
  local era = math.floor(from_march / 146097)
  local of_era = from_march - era * 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  local day = of_year - math.floor((153 * month + 2) / 5) + 1
  year, month = year + era * 400, month < 10 and month + 3 or month - 9
  if month <= 2 then year = year + 1 end
  return string.format('%04d%02d%02d', year, month, day)
end

-- Takes what a slot holds out of the sums. Returns whether it held anything.
local function drop_held(held, slot)
  local amounts = redis.call('HGET', held, slot)
  if not amounts then return false end
  local streams, reserved, ended = string.match(amounts, '^(%d+) (%d+) (%d+)$')
  redis.call('HDEL', held, slot)
  if streams ~= '0' then redis.call('HINCRBY', held, 'streams', -streams) end
  if reserved ~= '0' then redis.call('HINCRBY', held, 'reserved', -reserved) end
  if ended ~= '0' then redis.call('HINCRBY', held, 'ended', -ended) end
  return true
end

-- Undoes that a request was let in. Returns 1 if it was, else 0.
local function withdraw(prefix, client, slot, redis_now)
  redis.call('ZREM', prefix .. 'client_slots:' .. client, slot)
  if not drop_held(prefix .. 'client_held:' .. client, slot) then return 0 end
  local entries = {slot}
  for i = 2, 10 do entries[i] = slot .. ':' .. i end
  local requests = redis.call('ZREM', prefix .. 'client_minute:' .. client, unpack(entries))
  local day = prefix .. 'client_day:' .. client .. ':' .. day_name(math.floor(redis_now / DAY_MS))
  if count_of(redis.call('HGET', day, 'requests')) >= requests then redis.call('HINCRBY', day, 'requests', -requests) end
  return 1
end

-- What a client may use, what it has used and holds; nil when it is gone or may not call.
local function read_client(prefix, client, slot, now, redis_now)
  local record = redis.call('HMGET', prefix .. 'client:' .. client, 'name', 'disabled', 'expires_at_ms',
    'requests_per_minute', 'streams', 'requests_per_day', 'tokens_per_day')
  local expires_at = count_of(record[3])
  if not record[1] or record[2] == '1' or (expires_at > 0 and expires_at <= redis_now) then return nil end
  local state = {
    slot = slot, now = now, until_midnight = DAY_MS - redis_now % DAY_MS,
    minute = prefix .. 'client_minute:' .. client, slots = prefix .. 'client_slots:' .. client,
    held = prefix .. 'client_held:' .. client, waiting = prefix .. 'client_waiting:' .. client,
    day = prefix .. 'client_day:' .. client .. ':' .. day_name(math.floor(redis_now / DAY_MS)),
    per_minute = count_of(record[4]), streams = count_of(record[5]),
    per_day = count_of(record[6]), tokens = count_of(record[7]),
  }
  for _, void in ipairs(redis.call('ZRANGEBYSCORE', state.slots, '-inf', now, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', state.slots, void)
    drop_held(state.held, void)
  end
  redis.call('ZREMRANGEBYSCORE', state.minute, '-inf', now - MINUTE_MS)
  local held = redis.call('HMGET', state.held, 'streams', 'reserved', 'ended', slot)
  local used = redis.call('HMGET', state.day, 'requests', 'tokens')
  state.held_streams, state.reserved, state.ended = count_of(held[1]), count_of(held[2]), count_of(held[3])
  state.is_in = held[4] and true or false
  state.used_in_minute = redis.call('ZCARD', state.minute)
  state.used_in_day = count_of(used[1])
  state.used_tokens = count_of(used[2]) + state.ended
  return state
end

-- ms until so many of the requests in the minute are older than that.
local function frees_in(state, count)
  local frees = redis.call('ZRANGE', state.minute, count - 1, count - 1, 'WITHSCORES')
  return tonumber(frees[2]) + MINUTE_MS - state.now
end

-- Who stands before this request in the line of its client: how many, how many streams they want, whether one waits for tokens.
local function look_at_line(state)
  local line = {ahead = 0, streams = 0, length = 0, tokens = false}
  if state.streams == 0 and state.tokens == 0 then return line end
  local entries, others = redis.call('HGETALL', state.waiting), {}
  for i = 1, #entries, 2 do
    local slot = entries[i]
    local since, til, streams, why = string.match(entries[i + 1], '^(%d+) (%d+) (%d+) (%a+)$')
    if slot == state.slot then
      line.since = tonumber(since)
    elseif tonumber(til) <= state.now then
      redis.call('HDEL', state.waiting, slot)
    else
      others[#others + 1] = {slot, tonumber(since), tonumber(streams), why}
    end
  end
  line.length = #others
  for _, other in ipairs(others) do
    local slot, since, streams, why = unpack(other)
    if not line.since or since < line.since or (since == line.since and slot < state.slot) then
      line.ahead = line.ahead + 1
      line.streams = line.streams + streams
      line.tokens = line.tokens or why == 'tokens'
    end
  end
  return line
end

-- The tokens to reserve. The output is a guess: a request that is alone may have what is left, so that a guess above the limit
-- shuts nobody out.
local function reserve_for(state, want)
  if state.tokens == 0 then return 0 end
  local left = state.tokens - state.used_tokens
  if state.reserved == 0 and left >= math.max(want.prompt, 1) then return math.min(want.prompt + want.output, left) end
  return want.prompt + want.output
end

-- The table of limits, resources by intervals. Of each: the limit, what is used, what requests under way hold, what those ahead
-- in the line want, what this request wants, the least it could do with, and the ms until the interval ends.
-- Returns {"client", why, ms, limit, used, held, wanted, waits, ahead} for the first that has no room, or nil. ms: -1 = never;
-- waits: 1 = there is room when requests under way end.
local function lacking(state, want, line, reserve)
  local until_midnight = state.until_midnight
  local rows = {
    {'tokens_per_day', state.tokens, state.used_tokens, state.reserved, line.tokens and state.tokens or 0,
      math.max(reserve, 1), math.max(want.prompt, 1), until_midnight},
    {'requests_per_day', state.per_day, state.used_in_day, 0, 0, want.requests, want.requests, until_midnight},
    {'requests_per_minute', state.per_minute, state.used_in_minute, 0, 0, want.requests, want.requests},
    {'streams', state.streams, 0, state.held_streams, line.streams, want.streams, want.streams, CLIENT_BUSY_MS},
  }
  for _, row in ipairs(rows) do
    local why, limit, used, held, ahead, wanted, least, ms = unpack(row, 1, 8)
    if limit > 0 and wanted > 0 and used + held + ahead + wanted > limit then
      local waits = used + least <= limit
      if least > limit then
        ms = -1
      elseif waits then
        ms = CLIENT_BUSY_MS
      elseif not ms then
        ms = frees_in(state, used + wanted - limit)
      end
      return {'client', why, ms, limit, used, held, wanted, waits and 1 or 0, line.ahead}
    end
  end
  return nil
end

-- Has a request that was refused stand in the line of its client, or leave it.
local function stand_in_line(state, want, line, refusal)
  if want.may_wait and refusal[8] == 1 and (line.since or line.length < CLIENT_MAX_WAITING) then
    local why = refusal[2] == 'streams' and 'streams' or 'tokens'
    redis.call('HSET', state.waiting, state.slot,
      string.format('%.0f %.0f %d %s', line.since or state.now, state.now + CLIENT_WAITING_MS, want.streams, why))
    redis.call('PEXPIRE', state.waiting, CLIENT_WAITING_MS)
    return
  end
  refusal[8] = 0
  if line.since then redis.call('HDEL', state.waiting, state.slot) end
end

-- Lets a request in. Returns its client's room: limit, left, ms to reset of its requests (a minute, or else a day), the same of its
-- tokens a day, and the requests left of the day (-1 = no limit).
local function admit(state, want, line, reserve, lease_ms)
  local until_midnight = state.until_midnight
  local requests = state.is_in and 0 or want.requests
  if not state.is_in then
    local entries = {}
    for i = 1, requests do
      entries[2 * i - 1], entries[2 * i] = state.now, i == 1 and state.slot or state.slot .. ':' .. i
    end
    redis.call('ZADD', state.minute, unpack(entries))
    redis.call('PEXPIRE', state.minute, MINUTE_MS + 1)
    redis.call('ZADD', state.slots, state.now + lease_ms, state.slot)
    redis.call('PEXPIRE', state.slots, lease_ms)
    redis.call('HSET', state.held, 'streams', state.held_streams + want.streams, 'reserved', state.reserved + reserve,
      state.slot, string.format('%d %d 0', want.streams, reserve))
    redis.call('PEXPIRE', state.held, lease_ms)
    if redis.call('HINCRBY', state.day, 'requests', requests) == requests then
      redis.call('PEXPIRE', state.day, 2 * DAY_MS)
    end
    if line.since then redis.call('HDEL', state.waiting, state.slot) end
  end
  local room = {0, 0, 0, 0, 0, 0, -1}
  if state.per_minute > 0 then
    room[1], room[2], room[3] = state.per_minute, state.per_minute - state.used_in_minute - requests, MINUTE_MS
  elseif state.per_day > 0 then
    room[1], room[2], room[3] = state.per_day, state.per_day - state.used_in_day - requests, until_midnight
  end
  if state.tokens > 0 then
    room[4], room[5], room[6] = state.tokens, state.tokens - state.used_tokens, until_midnight
  end
  if state.per_day > 0 then room[7] = state.per_day - state.used_in_day - requests end
  return room
end
