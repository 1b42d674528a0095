-- Does with a key what an operator asks for, and notes it in the stream of events. Times in epoch milliseconds.
--
-- KEYS ring         zset key id -> turn of its last lease: the keys that are ready
--      cooling      zset key id -> time it is ready again
--      out          hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      probes       zset key id -> time its balance is to be asked for
--      announced    zset key id -> time of its last announcement
-- ARGV prefix       of the keys named after a key id or an account
--      key_id
--      action       'cool', 'retire', 'restore' or 'probe'
--      cooldown_ms  for 'cool'
-- Returns 1, or 0 when nobody has announced such a key

-- include: pool_clock
-- include: keypool/key_events
-- include: keypool/places
local now = read_pool_clock(prefix .. 'clock')
local key_hash = prefix .. 'key:' .. key_id
if not redis.call('ZSCORE', announced, key_id) then return 0 end

if action == 'probe' then
  redis.call('ZADD', probes, now, key_id)
  return 1
end

local account = redis.call('HGET', key_hash, 'account') or key_id

leave_ring(key_id)
redis.call('ZREM', cooling, key_id)
redis.call('HDEL', out, key_id)
if action == 'cool' then
  redis.call('HSET', key_hash, 'ready_at_ms', now + cooldown_ms, 'reason', 'operator', 'basis', 'stated')
  redis.call('ZADD', cooling, now + cooldown_ms, key_id)
  note_key_event('key_cooled', key_id, account, 'operator', 'scope', 'key', 'reason', 'operator', 'basis', 'stated',
    'rest_ms', plain(cooldown_ms))
elseif action == 'retire' then
  redis.call('HSET', key_hash, 'retired_at_ms', now, 'retired_by', 'operator', 'reason', 'operator', 'basis', 'stated')
  redis.call('HSET', out, key_id, 'retired')
  note_key_event('key_retired', key_id, account, 'operator', 'reason', 'operator')
else
  redis.call('HDEL', key_hash, 'retired_at_ms', 'retired_by', 'ready_at_ms', 'strikes')
  redis.call('HDEL', prefix .. 'account:' .. account, 'parked_at_ms', 'ready_at_ms', 'strikes')
  enter_ring(key_id)
  redis.call('ZADD', probes, 'NX', now, key_id)
  note_key_event('key_restored', key_id, account, 'operator')
end
redis.call('PEXPIRE', key_hash, KEY_KEPT_MS)
return 1
