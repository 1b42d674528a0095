-- Makes this instance's keys known. Idempotent; repeated while the instance lives. Times in epoch milliseconds.
--
-- KEYS 1 ring       zset key id -> turn of its last lease: the keys that are ready
--      2 cooling    zset key id -> time it is ready again
--      3 out        hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      4 keyset     set of the key ids this instance has
--      5 announced  zset key id -> time of its last announcement
--      6 probes     zset key id -> time its balance is to be asked for
-- ARGV 1 prefix     of the keys named after a key id or an account
--      2 keep ms    after which a key that nobody announces is forgotten
--      3 why        'routine'; 'lost' when something was deleted here, which every worker hears with its next heartbeat; or
--                   'heard' by one that did: cooldowns that it knows of count for keys that others announced as ready meanwhile
--      4.. key id, account, ms it still cools down, state, key id...   as the worker knows it, for keys that are not known here;
--          state: 'parked', 'retired', 'retired operator' (by one, and so no look at a balance brings it back) or ''
-- Returns how many keys were new
local ring, cooling, out, keyset, announced, probes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local prefix, keep_ms, why = ARGV[1], tonumber(ARGV[2]), ARGV[3]

-- include: pool_clock
local now = read_pool_clock(prefix .. 'clock')
local new = 0
-- Two ends of a cooldown that lie no further apart are of the same one.
local SAME_MS = 1000

redis.pcall(why == 'lost' and 'HSET' or 'HSETNX', prefix .. 'clock', 'lost_at_ms', string.format('%.0f', now))

-- A cooldown that a worker remembers. Why, Redis knows where it has not lost that.
local function cool(key_id, account, til)
  redis.call('ZADD', cooling, string.format('%.0f', til), key_id)
  for _, name in ipairs({prefix .. 'key:' .. key_id, prefix .. 'account:' .. account}) do
    if (tonumber(redis.call('HGET', name, 'ready_at_ms') or 0) or 0) + SAME_MS > til then return end
  end
  redis.call('HSET', prefix .. 'key:' .. key_id, 'ready_at_ms', string.format('%.0f', til), 'reason', 'unknown', 'basis', '')
end

local function take_out(key_id, state)
  local by_operator = state == 'retired operator'
  redis.call('HSET', out, key_id, by_operator and 'retired' or state)
  if state == 'parked' then return end
  redis.call('HSET', prefix .. 'key:' .. key_id, 'retired_at_ms', string.format('%.0f', now),
    'reason', by_operator and 'operator' or 'upstream_auth', 'basis', 'stated')
  if by_operator then redis.call('HSET', prefix .. 'key:' .. key_id, 'retired_by', 'operator') end
end

for i = 4, #ARGV, 4 do
  local key_id, account, cooldown_ms, state = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local key_hash, account_keys = prefix .. 'key:' .. key_id, prefix .. 'account_keys:' .. account
  local before = redis.call('HGET', key_hash, 'account')
  if before and before ~= account then redis.call('SREM', prefix .. 'account_keys:' .. before, key_id) end
  redis.call('HSET', key_hash, 'account', account)
  redis.call('PEXPIRE', key_hash, keep_ms)
  redis.call('SADD', account_keys, key_id)
  redis.call('PEXPIRE', account_keys, keep_ms)
  redis.call('SADD', keyset, key_id)
  redis.call('ZADD', announced, now, key_id)
  redis.call('ZADD', probes, 'NX', now, key_id)
  local is_ready, ready_at = redis.call('ZSCORE', ring, key_id), redis.call('ZSCORE', cooling, key_id)
  if why ~= 'routine' and is_ready and (state ~= '' or cooldown_ms > 0) then
    redis.call('ZREM', ring, key_id)
    is_ready = false
  elseif why ~= 'routine' and ready_at and cooldown_ms > 0 then
    cool(key_id, account, math.max(tonumber(ready_at), now + cooldown_ms))
  end
  if not is_ready and not ready_at and redis.call('HEXISTS', out, key_id) == 0 then
    if state ~= '' then
      take_out(key_id, state)
    elseif cooldown_ms > 0 then
      cool(key_id, account, now + cooldown_ms)
    else
      redis.call('ZADD', ring, 0, key_id)
    end
    new = new + 1
  end
end
redis.call('PEXPIRE', keyset, keep_ms)

-- Keys of others that are in no place: their instance, if there is one, announces them again.
local places = redis.call('ZCARD', ring) + redis.call('ZCARD', cooling) + redis.call('HLEN', out)
if places < redis.call('ZCARD', announced) then
  for _, key_id in ipairs(redis.call('ZRANGE', announced, 0, 9999)) do
    if not redis.call('ZSCORE', ring, key_id) and not redis.call('ZSCORE', cooling, key_id)
      and redis.call('HEXISTS', out, key_id) == 0 then redis.call('ZREM', announced, key_id) end
  end
end

-- Keys that left every instance's configuration leave the pool.
for _, key_id in ipairs(redis.call('ZRANGEBYSCORE', announced, '-inf', now - keep_ms, 'LIMIT', 0, 1000)) do
  for _, name in ipairs({ring, cooling, announced, probes}) do redis.call('ZREM', name, key_id) end
  redis.call('HDEL', out, key_id)
end
return new
