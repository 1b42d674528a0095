-- Does with a key what an operator asks for, and notes it in the stream of events. Times in epoch milliseconds.
--
-- KEYS 1 ring       zset key id -> turn of its last lease: the keys that are ready
--      2 cooling    zset key id -> time it is ready again
--      3 out        hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      4 probes     zset key id -> time its balance is to be asked for
--      5 announced  zset key id -> time of its last announcement
-- ARGV 1 prefix     of the keys named after a key id or an account
--      2 key id
--      3 action     'cool', 'retire', 'restore' or 'probe'
--      4 cool ms    for 'cool'
--      5 keep ms    how long what is known is kept
-- Returns 1, or 0 when nobody has announced such a key
local ring, cooling, out, probes, announced = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, key_id, action, cooldown_ms, keep_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

-- include: pool_clock
local now = read_pool_clock(prefix .. 'clock')
local key_hash = prefix .. 'key:' .. key_id
if not redis.call('ZSCORE', announced, key_id) then return 0 end

if action == 'probe' then
  redis.call('ZADD', probes, now, key_id)
  return 1
end

local function note(kind, ...)
  redis.pcall('XADD', prefix .. 'events', 'MAXLEN', '~', 10000, '*', 'kind', kind, 'key', key_id,
    'account', redis.call('HGET', key_hash, 'account') or key_id, 'by', 'operator', ...)
end

local turn = redis.call('ZSCORE', ring, key_id) or redis.call('HGET', key_hash, 'turn') or 0
redis.call('HSET', key_hash, 'turn', turn)
redis.call('PEXPIRE', key_hash, keep_ms)
redis.call('ZREM', ring, key_id)
redis.call('ZREM', cooling, key_id)
redis.call('HDEL', out, key_id)
if action == 'cool' then
  redis.call('HSET', key_hash, 'ready_at_ms', now + cooldown_ms, 'reason', 'operator', 'basis', 'stated')
  redis.call('ZADD', cooling, now + cooldown_ms, key_id)
  note('key_cooled', 'scope', 'key', 'reason', 'operator', 'basis', 'stated', 'rest_ms', string.format('%.0f', cooldown_ms))
elseif action == 'retire' then
  redis.call('HSET', key_hash, 'retired_at_ms', now, 'retired_by', 'operator', 'reason', 'operator', 'basis', 'stated')
  redis.call('HSET', out, key_id, 'retired')
  note('key_retired', 'reason', 'operator')
else
  redis.call('HDEL', key_hash, 'retired_at_ms', 'retired_by', 'ready_at_ms', 'strikes')
  local account_hash = prefix .. 'account:' .. (redis.call('HGET', key_hash, 'account') or key_id)
  redis.call('HDEL', account_hash, 'parked_at_ms', 'ready_at_ms', 'strikes')
  redis.call('ZADD', ring, turn, key_id)
  redis.call('ZADD', probes, 'NX', now, key_id)
  note('key_restored')
end
return 1
