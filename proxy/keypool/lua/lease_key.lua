-- Leases the key that was leased longest ago, among those that are ready. Times in epoch milliseconds.
--
-- KEYS 1 turn       counter of leases, shared by the whole fleet
--      2 ring       zset key id -> turn of its last lease: the keys that are ready
--      3 resting    zset key id -> time it is ready again
--      4 keyset     set of the key ids this instance has
-- ARGV 1 prefix     of the keys named after a key id
--      2 lease id
--      3 lease ms   after which a lease that was never settled is void
--      4.. key ids  already tried for this request
-- Returns {"leased", key id, turn}
--      or {"none", ms until the soonest key of this instance is ready; -1 when there is no such key}
--      or {"unannounced"} when Redis does not know this instance's keys; announce them and ask again
local turn_name, ring, resting, keyset = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, lease_id, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local tried = {}
for i = 4, #ARGV do tried[ARGV[i]] = true end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local PAGE = 32

if redis.call('EXISTS', keyset) == 0 then return {'unannounced'} end

-- Keys that have rested return to the ring with the turn they left it with.
for _, key_id in ipairs(redis.call('ZRANGEBYSCORE', resting, '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', resting, key_id)
  redis.call('ZADD', ring, redis.call('HGET', prefix .. 'key:' .. key_id, 'turn') or 0, key_id)
end

local function usable(key_id)
  return redis.call('SISMEMBER', keyset, key_id) == 1
end

local page = 0
local chosen
repeat
  local candidates = redis.call('ZRANGE', ring, page * PAGE, page * PAGE + PAGE - 1)
  for _, key_id in ipairs(candidates) do
    if not tried[key_id] and usable(key_id) then
      chosen = key_id
      break
    end
  end
  page = page + 1
until chosen or #candidates < PAGE

if chosen then
  local turn = redis.call('INCR', turn_name)
  local leases = prefix .. 'leases:' .. chosen
  redis.call('ZADD', ring, turn, chosen)
  redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)
  redis.call('ZADD', leases, now + lease_ms, lease_id)
  redis.call('PEXPIRE', leases, lease_ms)
  return {'leased', chosen, turn}
end

-- None: when is the soonest? A key that was tried and still stands in the ring is ready now.
for key_id in pairs(tried) do
  if redis.call('ZSCORE', ring, key_id) and usable(key_id) then return {'none', 0} end
end
page = 0
repeat
  local sleepers = redis.call('ZRANGE', resting, page * PAGE, page * PAGE + PAGE - 1, 'WITHSCORES')
  for i = 1, #sleepers, 2 do
    if usable(sleepers[i]) then return {'none', math.max(0, tonumber(sleepers[i + 1]) - now)} end
  end
  page = page + 1
until #sleepers < 2 * PAGE
return {'none', -1}
