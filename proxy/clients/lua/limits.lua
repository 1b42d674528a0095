-- The limits of managed clients. clients/limits.py does the same in Python; a test runs both side by side. Times in epoch
-- milliseconds: of the pool's clock, but for days and expiry, which are of Redis's own.
-- include: number
-- include: clients/day
-- include: clients/held
-- include: clients/minute
-- include: clients/waiting

-- A client whose requests under way leave no room is told to come back after so many ms.
local CLIENT_BUSY_MS = 1000

-- What a client may use, what it has used and holds; nil when it is gone or may not call.
local function read_client(prefix, client, permit, now, redis_now)
  local record = redis.call('HMGET', prefix .. 'client:' .. client, 'name', 'disabled', 'expires_at_ms',
    'requests_per_minute', 'streams', 'requests_per_day', 'tokens_per_day')
  local expires_at = number(record[3])
  if not record[1] or record[2] == '1' or (expires_at > 0 and expires_at <= redis_now) then return nil end
  local state = {
    permit = permit, now = now, until_midnight = ms_to_midnight(redis_now),
    minute = prefix .. 'client_minute:' .. client, permits = prefix .. 'client_slots:' .. client,
    held = prefix .. 'client_held:' .. client, waiting = prefix .. 'client_waiting:' .. client,
    day = client_day(prefix, client, day_of(redis_now)),
    per_minute = number(record[4]), streams = number(record[5]),
    per_day = number(record[6]), tokens = number(record[7]),
  }
  for _, void in ipairs(redis.call('ZRANGEBYSCORE', state.permits, '-inf', plain(now), 'LIMIT', 0, 1000)) do
    redis.call('ZREM', state.permits, void)
    drop_held(state.held, void)
  end
  state.used_in_minute = count_minute(state.minute, now)
  local held = redis.call('HMGET', state.held, 'streams', 'reserved', 'ended', 'line', permit)
  local used = redis.call('HMGET', state.day, 'requests', 'tokens')
  state.held_streams, state.reserved = number(held[1]), number(held[2])
  state.has_line, state.is_in = number(held[4]) > now, held[5] and true or false
  state.used_in_day, state.used_tokens = number(used[1]), number(used[2]) + number(held[3])
  return state
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
    ms = ms_until_older(state.minute, used + wanted - limit, state.now)
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

-- What a client has left once so many requests more are let in: limit, left, ms to reset of its requests (a minute, or else a day),
-- the same of its tokens a day, and the requests left of the day (-1 = no limit).
local function room_after(state, requests)
  local room = {0, 0, 0, 0, 0, 0, -1}
  if state.per_minute > 0 then
    room[1], room[2], room[3] = state.per_minute, state.per_minute - state.used_in_minute - requests, MINUTE_MS
  elseif state.per_day > 0 then
    room[1], room[2], room[3] = state.per_day, state.per_day - state.used_in_day - requests, state.until_midnight
  end
  if state.tokens > 0 then
    room[4], room[5], room[6] = state.tokens, state.tokens - state.used_tokens, state.until_midnight
  end
  if state.per_day > 0 then room[7] = state.per_day - state.used_in_day - requests end
  return room
end

-- Lets a request in, once. Returns the room that its client has left.
local function admit(state, want, line, reserve, lease_ms)
  if state.is_in then return room_after(state, 0) end
  note_in_minute(state.minute, state.permit, want.requests, state.now)
  redis.call('ZADD', state.permits, plain(state.now + lease_ms), state.permit)
  redis.call('PEXPIRE', state.permits, lease_ms)
  redis.call('HSET', state.held, 'streams', state.held_streams + want.streams, 'reserved', state.reserved + reserve,
    state.permit, string.format('%d %d 0', want.streams, reserve))
  redis.call('PEXPIRE', state.held, lease_ms)
  if redis.call('HINCRBY', state.day, 'requests', want.requests) == want.requests then
    redis.call('PEXPIRE', state.day, CLIENT_DAY_KEPT_MS)
  end
  if line.since then redis.call('HDEL', state.waiting, state.permit) end
  return room_after(state, want.requests)
end
