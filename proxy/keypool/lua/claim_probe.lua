-- Hands the key whose balance is due longest to one worker of the fleet. Times in epoch milliseconds.
--
-- KEYS probes       zset key id -> time its balance is to be asked for
--      keyset       set of the key ids this instance has
-- ARGV prefix
--      claim        new name of this claim: one that is sent again gets the same key
--      claim_ms     for which nobody else is given the same key
-- Returns {key id} or {} when none is due

-- include: pool_clock
-- include: keypool/repeats
local now = read_pool_clock(prefix .. 'clock')
local claimed = redis.call('GET', prefix .. 'probe_claim:' .. claim)
if claimed then return {claimed} end

for _, key_id in ipairs(redis.call('ZRANGEBYSCORE', probes, '-inf', now, 'LIMIT', 0, 100)) do
  if redis.call('SISMEMBER', keyset, key_id) == 1 then
    redis.call('ZADD', probes, now + claim_ms, key_id)
    redis.call('SET', prefix .. 'probe_claim:' .. claim, key_id, 'PX', REPEATED_WITHIN_MS)
    return {key_id}
  end
end
return {}
