-- Makes this instance's keys known. Idempotent; repeated while the instance lives. Times in epoch milliseconds.
--
-- KEYS ring         zset key id -> turn of its last lease: the keys that are ready
--      cooling      zset key id -> time it is ready again
--      out          hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      keyset       set of the key ids this instance has
--      announced    zset key id -> time of its last announcement
--      probes       zset key id -> time its balance is to be asked for
-- ARGV prefix       of the keys named after a key id or an account
--      why          'routine'; 'lost' when something was deleted here, which every worker hears with its next heartbeat; or
--                   'heard' by one that did: cooldowns that it knows of count for keys that others announced as ready meanwhile
--      known        list of key_id, account, cooldown_ms, state: as the worker knows it, for keys that are not known here;
--                   state: 'parked', 'retired', 'retired operator' (by one, and so no look at a balance brings it back) or ''
-- Returns how many keys were new

-- include: pool_clock
-- include: keypool/places
local now = read_pool_clock(prefix .. 'clock')
-- Two ends of a cooldown that lie no further apart are of the same one.
local SAME_MS = 1000

redis.pcall(why == 'lost' and 'HSET' or 'HSETNX', prefix .. 'clock', 'lost_at_ms', plain(now))

-- A cooldown that a worker remembers. Why, Redis knows where it has not lost that.
local function remember_cooldown(key_id, account, ready_at)
  redis.call('ZADD', cooling, plain(ready_at), key_id)
  for _, name in ipairs({prefix .. 'key:' .. key_id, prefix .. 'account:' .. account}) do
    if number(redis.call('HGET', name, 'ready_at_ms')) + SAME_MS > ready_at then return end
  end
  redis.call('HSET', prefix .. 'key:' .. key_id, 'ready_at_ms', plain(ready_at), 'reason', 'unknown', 'basis', '')
end

local function remember_state(key_id, state)
  local by_operator = state == 'retired operator'
  redis.call('HSET', out, key_id, by_operator and 'retired' or state)
  if state == 'parked' then return end
  redis.call('HSET', prefix .. 'key:' .. key_id, 'retired_at_ms', plain(now),
    'reason', by_operator and 'operator' or 'upstream_auth', 'basis', 'stated')
  if by_operator then redis.call('HSET', prefix .. 'key:' .. key_id, 'retired_by', 'operator') end
end

local function make_known(key_id, account)
  local key_hash, account_keys = prefix .. 'key:' .. key_id, prefix .. 'account_keys:' .. account
  local before = redis.call('HGET', key_hash, 'account')
  if before and before ~= account then redis.call('SREM', prefix .. 'account_keys:' .. before, key_id) end
  redis.call('HSET', key_hash, 'account', account)
  redis.call('PEXPIRE', key_hash, KEY_KEPT_MS)
  redis.call('SADD', account_keys, key_id)
  redis.call('PEXPIRE', account_keys, KEY_KEPT_MS)
  redis.call('SADD', keyset, key_id)
  redis.call('ZADD', announced, now, key_id)
  redis.call('ZADD', probes, 'NX', now, key_id)
end

local new = 0
for key_id, account, cooldown_ms, state in known() do
  make_known(key_id, account)
  if why ~= 'routine' and (state ~= '' or cooldown_ms > 0) then redis.call('ZREM', ring, key_id) end
  local ready_at = redis.call('ZSCORE', cooling, key_id)
  if is_in_no_place(key_id) then
    if state ~= '' then
      remember_state(key_id, state)
    elseif cooldown_ms > 0 then
      remember_cooldown(key_id, account, now + cooldown_ms)
    else
      redis.call('ZADD', ring, 0, key_id)
    end
    new = new + 1
  elseif why ~= 'routine' and ready_at and cooldown_ms > 0 then
    remember_cooldown(key_id, account, math.max(tonumber(ready_at), now + cooldown_ms))
  end
end
redis.call('PEXPIRE', keyset, KEY_KEPT_MS)

-- Keys of others that are in no place: their instance, if there is one, announces them again.
local places = redis.call('ZCARD', ring) + redis.call('ZCARD', cooling) + redis.call('HLEN', out)
if places < redis.call('ZCARD', announced) then
  for _, key_id in ipairs(redis.call('ZRANGE', announced, 0, 9999)) do
    if is_in_no_place(key_id) then redis.call('ZREM', announced, key_id) end
  end
end

-- Keys that left every instance's configuration leave the pool.
for _, key_id in ipairs(redis.call('ZRANGEBYSCORE', announced, '-inf', now - KEY_KEPT_MS, 'LIMIT', 0, 1000)) do
  for _, name in ipairs({ring, cooling, announced, probes}) do redis.call('ZREM', name, key_id) end
  redis.call('HDEL', out, key_id)
end
return new
