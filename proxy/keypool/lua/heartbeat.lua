-- Says that a worker lives and brings it what it needs to go on alone, should Redis go away. Times in epoch milliseconds.
--
-- KEYS ring         zset key id -> turn of its last lease: the keys that are ready
--      cooling      zset key id -> time it is ready again
--      out          hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      workers      zset worker -> time until which it counts as alive
--      keyset       set of the key ids this instance has
-- ARGV prefix       of the keys named after a key id or a client
--      worker       who lives: 'instance worker'
--      alive_ms     how long a sign of life counts
--      lease_ms     by which its leases are renewed
--      held         list of name, member: what it holds, leases:<key id> and lease ids, client_slots:<client> and permits
-- Returns {workers alive, {key id, ms it still cools down...}, {key id, 'parked', 'retired' or 'retired operator'...}, Redis's own time, workers alive in other instances,
--          1 if this instance's keys are to be announced again, because something was deleted, else 0, when that was last}

-- include: pool_clock
-- include: keypool/lost_keys
local now, redis_now = read_pool_clock(prefix .. 'clock')

redis.call('ZREMRANGEBYSCORE', workers, '-inf', now)
redis.call('ZADD', workers, now + alive_ms, worker)
redis.call('PEXPIRE', workers, alive_ms)

for name, member in held() do
  redis.call('ZADD', prefix .. name, 'XX', now + lease_ms, member)
  redis.call('PEXPIRE', prefix .. name, lease_ms)
  local client = string.match(name, '^client_slots:(.*)$')
  if client then redis.call('PEXPIRE', prefix .. 'client_held:' .. client, lease_ms) end
end

local function cooldowns()
  local entries = redis.call('ZRANGEBYSCORE', cooling, now, '+inf', 'WITHSCORES', 'LIMIT', 0, 5000)
  for i = 2, #entries, 2 do entries[i] = math.ceil(tonumber(entries[i]) - now) end
  return entries
end

local function states()
  local entries = redis.call('HGETALL', out)
  for i = 1, #entries, 2 do
    local is_retired = entries[i + 1] == 'retired'
    local by_operator = is_retired and redis.call('HGET', prefix .. 'key:' .. entries[i], 'retired_by') == 'operator'
    if by_operator then entries[i + 1] = 'retired operator' end
  end
  return entries
end

local alive, others = redis.call('ZRANGE', workers, 0, -1), 0
local instance = string.match(worker, '^[^ ]*')
for _, one in ipairs(alive) do
  if string.match(one, '^[^ ]*') ~= instance then others = others + 1 end
end
return {#alive, cooldowns(), states(), redis_now, others,
  has_lost_keys() and 1 or 0, redis.call('HGET', prefix .. 'clock', 'lost_at_ms') or ''}
