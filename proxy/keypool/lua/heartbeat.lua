-- Says that a worker lives and brings it what it needs to go on alone, should Redis go away. Times in epoch milliseconds.
--
-- KEYS 1 cooling    zset key id -> time it is ready again
--      2 out        hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      3 workers    zset worker -> time until which it counts as alive
--      4 keyset     set of the key ids this instance has
-- ARGV 1 prefix     of the keys named after a key id or a client
--      2 worker     who lives: 'instance worker'
--      3 alive ms   how long a sign of life counts
--      4 lease ms   by which its leases are renewed
--      5.. name, member, name, member...   what it holds: leases:<key id> and lease ids, client_slots:<client> and permits
-- Returns {workers alive, {key id, ms it still cools down...}, {key id, 'parked', 'retired' or 'retired operator'...}, Redis's own time, workers alive in other instances,
--          1 if this instance's keys are to be announced again, because something was deleted, else 0, when that was last}
local cooling, out, workers, keyset = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, worker, alive_ms, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

-- include: pool_clock
-- include: lost_keys
local now, redis_now = read_pool_clock(prefix .. 'clock')

redis.call('ZREMRANGEBYSCORE', workers, '-inf', now)
redis.call('ZADD', workers, now + alive_ms, worker)
redis.call('PEXPIRE', workers, alive_ms)

for i = 5, #ARGV, 2 do
  local held = prefix .. ARGV[i]
  redis.call('ZADD', held, 'XX', now + lease_ms, ARGV[i + 1])
  redis.call('PEXPIRE', held, lease_ms)
  local client = string.match(ARGV[i], '^client_slots:(.*)$')
  if client then redis.call('PEXPIRE', prefix .. 'client_held:' .. client, lease_ms) end
end

local cooldowns = redis.call('ZRANGEBYSCORE', cooling, now, '+inf', 'WITHSCORES', 'LIMIT', 0, 5000)
for i = 2, #cooldowns, 2 do cooldowns[i] = math.ceil(tonumber(cooldowns[i]) - now) end
local states = redis.call('HGETALL', out)
for i = 1, #states, 2 do
  local is_operators = states[i + 1] == 'retired' and redis.call('HGET', prefix .. 'key:' .. states[i], 'retired_by') == 'operator'
  if is_operators then states[i + 1] = 'retired operator' end
end
local alive, others = redis.call('ZRANGE', workers, 0, -1), 0
local instance = string.match(worker, '^[^ ]*')
for _, one in ipairs(alive) do
  if string.match(one, '^[^ ]*') ~= instance then others = others + 1 end
end
return {#alive, cooldowns, states, redis_now, others,
  has_lost_keys(prefix, keyset) and 1 or 0, redis.call('HGET', prefix .. 'clock', 'lost_at_ms') or ''}
