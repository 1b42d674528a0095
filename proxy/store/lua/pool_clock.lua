-- The clock of the pool: Redis's own, but it never goes back. When Redis's clock is set back, the pool's goes on from the
-- last time it gave, ahead of Redis's from then on; so nothing waits longer than it was told to.
-- Takes the name of its hash: last_ms, the last time it gave, and ahead_ms. Returns the pool's time and Redis's own, which
-- is right for dates; epoch milliseconds. ``reads``: nothing is written. Something else in the hash's place counts as none.
local function read_pool_clock(name, reads)
  local time = redis.call('TIME')
  local redis_now = time[1] * 1000 + math.floor(time[2] / 1000)
  local kept = redis.pcall('HMGET', name, 'last_ms', 'ahead_ms')
  local last, ahead = tonumber(kept[1] or 0) or 0, tonumber(kept[2] or 0) or 0
  local pool_now = math.max(redis_now + ahead, last)
  if not reads then
    if pool_now ~= last then redis.pcall('HSET', name, 'last_ms', string.format('%.0f', pool_now)) end
    if pool_now ~= redis_now + ahead then
      redis.pcall('HSET', name, 'ahead_ms', string.format('%.0f', pool_now - redis_now))
    end
  end
  return pool_now, redis_now
end
