-- The requests of a managed client in the last minute: client_minute, a zset entry -> time it was let in, epoch milliseconds. A
-- request has as many entries as choices: its permit, permit:2, permit:3...
-- include: number
local MINUTE_MS = 60000

-- Counts those that are not yet a minute old, and forgets the others.
local function count_minute(minute, now)
  redis.call('ZREMRANGEBYSCORE', minute, '-inf', plain(now - MINUTE_MS))
  return redis.call('ZCARD', minute)
end

-- The ms until so many of the oldest are a minute old.
local function ms_until_older(minute, count, now)
  return tonumber(redis.call('ZRANGE', minute, count - 1, count - 1, 'WITHSCORES')[2]) + MINUTE_MS - now
end

-- Notes a request of so many choices.
local function note_in_minute(minute, permit, choices, now)
  local at = plain(now)
  local entries = {at, permit}
  for i = 2, choices do entries[2 * i - 1], entries[2 * i] = at, permit .. ':' .. i end
  redis.call('ZADD', minute, unpack(entries))
  redis.call('PEXPIRE', minute, MINUTE_MS + 1)
end
