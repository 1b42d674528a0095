-- Hands the key whose balance is due longest to one worker of the fleet. Times in epoch milliseconds.
--
-- KEYS 1 probes     zset key id -> time its balance is to be asked for
--      2 keyset     set of the key ids this instance has
-- ARGV 1 prefix
--      2 claim      new name of this claim: one that is sent again gets the same key
--      3 claim ms   for which nobody else is given the same key
-- Returns {key id} or {} when none is due
local probes, keyset = KEYS[1], KEYS[2]
local prefix, claim, claim_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- include: pool_clock
local now = read_pool_clock(prefix .. 'clock')
local answer_name = prefix .. 'probe_claim:' .. claim
local answer = redis.call('GET', answer_name)
if answer then return {answer} end

for _, key_id in ipairs(redis.call('ZRANGEBYSCORE', probes, '-inf', now, 'LIMIT', 0, 100)) do
  if redis.call('SISMEMBER', keyset, key_id) == 1 then
    redis.call('ZADD', probes, now + claim_ms, key_id)
    redis.call('SET', answer_name, key_id, 'PX', 20000)
    return {key_id}
  end
end
return {}
