-- Counts this instance's keys by state. Reads only. Times in epoch milliseconds.
--
-- KEYS cooling      zset key id -> time it is ready again
--      out          hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      keyset       set of the key ids this instance has
--      clock        hash of the pool's clock
-- Returns {keys ready, cooling, parked, retired, ms until the soonest is ready: 0 when one is, -1 when none will be}

-- include: pool_clock
local now = read_pool_clock(clock, true)
local count, soonest = {ready = 0, cooling = 0, parked = 0, retired = 0}, -1

for _, key_id in ipairs(redis.call('SMEMBERS', keyset)) do
  local wait = number(redis.call('ZSCORE', cooling, key_id)) - now
  local state = redis.call('HGET', out, key_id) or (wait > 0 and 'cooling' or 'ready')
  count[state] = count[state] + 1
  if state == 'cooling' and (soonest < 0 or wait < soonest) then soonest = wait end
end
if count.ready > 0 then soonest = 0 end
return {count.ready, count.cooling, count.parked, count.retired, math.ceil(soonest)}
