-- The limits of managed clients; stands behind client_held. clients/limits.py does the same in Python; a test runs both side by
-- side. Times in epoch milliseconds: of the pool's clock, but for days and expiry, which are of Redis's own.
--
--   client_waiting  hash permit -> 'since until streams why': requests that wait for a place, in the order of 'since'. One that
--                   does not ask again before 'until' is gone.
--                   client_held has under 'line' until when one of them may ask again, so that most need not look.
local CLIENT_BUSY_MS, CLIENT_WAITING_MS, CLIENT_MAX_WAITING, MINUTE_MS = 1000, 2000, 32, 60000

-- What a client may use, what it has used and holds; nil when it is gone or may not call.
local function read_client(prefix, client, permit, now, redis_now)
  local record = redis.call('HMGET', prefix .. 'client:' .. client, 'name', 'disabled', 'expires_at_ms',
    'requests_per_minute', 'streams', 'requests_per_day', 'tokens_per_day')
  local expires_at = count_of(record[3])
  if not record[1] or record[2] == '1' or (expires_at > 0 and expires_at <= redis_now) then return nil end
  local state = {
    permit = permit, now = now, until_midnight = DAY_MS - redis_now % DAY_MS,
    minute = prefix .. 'client_minute:' .. client, permits = prefix .. 'client_slots:' .. client,
    held = prefix .. 'client_held:' .. client, waiting = prefix .. 'client_waiting:' .. client,
    day = prefix .. 'client_day:' .. client .. ':' .. day_name(math.floor(redis_now / DAY_MS)),
    per_minute = count_of(record[4]), streams = count_of(record[5]),
    per_day = count_of(record[6]), tokens = count_of(record[7]),
  }
  for _, void in ipairs(redis.call('ZRANGEBYSCORE', state.permits, '-inf', now, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', state.permits, void)
    drop_held(state.held, void)
  end
  redis.call('ZREMRANGEBYSCORE', state.minute, '-inf', now - MINUTE_MS)
  local held = redis.call('HMGET', state.held, 'streams', 'reserved', 'ended', 'line', permit)
  local used = redis.call('HMGET', state.day, 'requests', 'tokens')
  state.held_streams, state.reserved, state.ended = count_of(held[1]), count_of(held[2]), count_of(held[3])
  state.has_line = count_of(held[4]) > now
  state.is_in = held[5] and true or false
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
  if not state.has_line then return line end
  local entries, others = redis.call('HGETALL', state.waiting), {}
  for i = 1, #entries, 2 do
    local permit = entries[i]
    local since, til, streams, why = string.match(entries[i + 1], '^(%d+) (%d+) (%d+) (%a+)$')
    if permit == state.permit then
      line.since = tonumber(since)
    elseif tonumber(til) <= state.now then
      redis.call('HDEL', state.waiting, permit)
    else
      others[#others + 1] = {permit, tonumber(since), tonumber(streams), why}
    end
  end
  line.length = #others
  for _, other in ipairs(others) do
    local permit, since, streams, why = unpack(other)
    if not line.since or since < line.since or (since == line.since and permit < state.permit) then
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

-- One row of the table of limits: what is used, what requests under way hold, what those ahead in the line want, what this request
-- wants, the least it could do with, and the ms until the interval ends.
-- Returns {"client", why, ms, limit, used, held, wanted, waits, ahead} when there is no room, or nil. ms: -1 = never; waits: 1 =
-- there is room when requests under way end.
local function lacks(state, line, why, limit, used, held, ahead, wanted, least, ms)
  if limit == 0 or wanted == 0 or used + held + ahead + wanted <= limit then return nil end
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

-- The table of limits, resources by intervals. Returns the first row that has no room, or nil.
local function lacking(state, want, line, reserve)
  local requests, streams, until_midnight = want.requests, want.streams, state.until_midnight
  local ahead_tokens = line.tokens and state.tokens or 0
  return lacks(state, line, 'tokens_per_day', state.tokens, state.used_tokens, state.reserved, ahead_tokens,
      math.max(reserve, 1), math.max(want.prompt, 1), until_midnight)
    or lacks(state, line, 'requests_per_day', state.per_day, state.used_in_day, 0, 0, requests, requests, until_midnight)
    or lacks(state, line, 'requests_per_minute', state.per_minute, state.used_in_minute, 0, 0, requests, requests)
    or lacks(state, line, 'streams', state.streams, 0, state.held_streams, line.streams, streams, streams, CLIENT_BUSY_MS)
end

-- Has a request that was refused stand in the line of its client, or leave it.
local function stand_in_line(state, want, line, refusal)
  if want.may_wait and refusal[8] == 1 and (line.since or line.length < CLIENT_MAX_WAITING) then
    local why = refusal[2] == 'streams' and 'streams' or 'tokens'
    redis.call('HSET', state.waiting, state.permit,
      string.format('%.0f %.0f %d %s', line.since or state.now, state.now + CLIENT_WAITING_MS, want.streams, why))
    redis.call('PEXPIRE', state.waiting, CLIENT_WAITING_MS)
    redis.call('HSET', state.held, 'line', string.format('%.0f', state.now + CLIENT_WAITING_MS))
    return
  end
  refusal[8] = 0
  if line.since then redis.call('HDEL', state.waiting, state.permit) end
end

-- Lets a request in. Returns its client's room: limit, left, ms to reset of its requests (a minute, or else a day), the same of its
-- tokens a day, and the requests left of the day (-1 = no limit).
local function admit(state, want, line, reserve, lease_ms)
  local until_midnight = state.until_midnight
  local requests = state.is_in and 0 or want.requests
  if not state.is_in then
    local entries = {state.now, state.permit}
    for i = 2, requests do entries[2 * i - 1], entries[2 * i] = state.now, state.permit .. ':' .. i end
    redis.call('ZADD', state.minute, unpack(entries))
    redis.call('PEXPIRE', state.minute, MINUTE_MS + 1)
    redis.call('ZADD', state.permits, state.now + lease_ms, state.permit)
    redis.call('PEXPIRE', state.permits, lease_ms)
    redis.call('HSET', state.held, 'streams', state.held_streams + want.streams, 'reserved', state.reserved + reserve,
      state.permit, string.format('%d %d 0', want.streams, reserve))
    redis.call('PEXPIRE', state.held, lease_ms)
    if redis.call('HINCRBY', state.day, 'requests', requests) == requests then
      redis.call('PEXPIRE', state.day, 2 * DAY_MS)
    end
    if line.since then redis.call('HDEL', state.waiting, state.permit) end
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
