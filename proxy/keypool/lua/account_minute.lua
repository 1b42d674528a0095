-- The requests of an account in a sliding window: a list of their times, newest first, in epoch milliseconds.
-- include: number

-- When a window has room again that takes so many requests; 0 = now.
local function full_until(times, limit, window_ms, now)
  local oldest = number(redis.call('LINDEX', times, limit - 1))
  return oldest > 0 and oldest + window_ms > now and oldest + window_ms or 0
end

-- Notes a request in a window that takes so many.
local function note_request(times, limit, window_ms, now)
  if redis.call('LPUSH', times, plain(now)) > limit then redis.call('LTRIM', times, 0, limit - 1) end
  redis.call('PEXPIRE', times, window_ms)
end
