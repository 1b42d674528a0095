-- The clock of the pool: Redis's own, but it never goes back. When Redis's clock is set back, the pool's goes on from the
-- last time it gave, ahead of Redis's from then on; so nothing waits longer than it was told to.
-- include: number
-- include: server_clock

-- Takes the name of the clock's hash (last_ms, the last time it gave, and ahead_ms), and whether it is only to be read: then
-- nothing is written. Something else in the hash's place counts as none.
-- Returns the pool's time and Redis's own, which is right for dates; epoch milliseconds.
local function read_pool_clock(clock, only_reads)
  local redis_now = read_server_clock()
  local kept = redis.pcall('HMGET', clock, 'last_ms', 'ahead_ms')
  local last, ahead = number(kept[1]), number(kept[2])
  local pool_now = math.max(redis_now + ahead, last)
  if not only_reads then
    if pool_now ~= last then redis.pcall('HSET', clock, 'last_ms', plain(pool_now)) end
    if pool_now ~= redis_now + ahead then redis.pcall('HSET', clock, 'ahead_ms', plain(pool_now - redis_now)) end
  end
  return pool_now, redis_now
end
