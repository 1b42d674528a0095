-- Counts this instance's keys by state. Times in epoch milliseconds.
--
-- KEYS 1 resting    zset key id -> time it is ready again
--      2 keyset     set of the key ids this instance has
-- Returns {keys ready, keys cooling, ms until the soonest is ready: 0 when one is, -1 when there are no keys}
local resting, keyset = KEYS[1], KEYS[2]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ready, cooling, soonest = 0, 0, -1

for _, key_id in ipairs(redis.call('SMEMBERS', keyset)) do
  local wait = (tonumber(redis.call('ZSCORE', resting, key_id) or 0)) - now
  if wait > 0 then
    cooling = cooling + 1
    if soonest < 0 or wait < soonest then soonest = wait end
  else
    ready = ready + 1
  end
end
if ready > 0 then soonest = 0 end
return {ready, cooling, soonest}
