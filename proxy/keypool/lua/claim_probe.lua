-- Hands the key whose balance is due longest to one worker of the fleet. Times in epoch milliseconds.
--
-- KEYS 1 probes     zset key id -> time its balance is to be asked for
--      2 keyset     set of the key ids this instance has
-- ARGV 1 claim ms   for which nobody else is given the same key
-- Returns {key id} or {} when none is due
local probes, keyset = KEYS[1], KEYS[2]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

for _, key_id in ipairs(redis.call('ZRANGEBYSCORE', probes, '-inf', now, 'LIMIT', 0, 100)) do
  if redis.call('SISMEMBER', keyset, key_id) == 1 then
    redis.call('ZADD', probes, now + tonumber(ARGV[1]), key_id)
    return {key_id}
  end
end
return {}
