-- Counts this instance's keys by state. Reads only. Times in epoch milliseconds.
--
-- KEYS 1 cooldowns  zset key id -> time it is ready again
--      2 out        hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      3 keyset     set of the key ids this instance has
--      4 clock      hash of the pool's clock
-- Returns {keys ready, cooling, parked, retired, ms until the soonest is ready: 0 when one is, -1 when none will be}
local cooldowns, out, keyset, clock = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- include: pool_clock
local now = read_pool_clock(clock, true)
local ready, cooling, parked, retired, soonest = 0, 0, 0, 0, -1

for _, key_id in ipairs(redis.call('SMEMBERS', keyset)) do
  local state = redis.call('HGET', out, key_id)
  local wait = tonumber(redis.call('ZSCORE', cooldowns, key_id) or 0) - now
  if state == 'parked' then
    parked = parked + 1
  elseif state then
    retired = retired + 1
  elseif wait > 0 then
    cooling = cooling + 1
    if soonest < 0 or wait < soonest then soonest = wait end
  else
    ready = ready + 1
  end
end
if ready > 0 then soonest = 0 end
return {ready, cooling, parked, retired, math.ceil(soonest)}
