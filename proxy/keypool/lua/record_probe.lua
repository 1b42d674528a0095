-- Applies what Poe said of a key's balance, and notes in the stream of events what becomes of the key. Times in epoch
-- milliseconds.
--
-- KEYS ring         zset key id -> turn of its last lease: the keys that are ready
--      cooling      zset key id -> time it is ready again
--      out          hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      probes       zset key id -> time its balance is to be asked for
-- ARGV prefix       of the keys named after a key id or an account
--      key_id
--      account
--      said         'refused' (Poe does not know the key), 'points', or 'nothing' (it could not be found out)
--      points       of the account
--      next_ms      until the next probe of this key
-- Returns what became of the key: 'ready', 'parked', 'retired' or 'unchanged'

-- include: pool_clock
-- include: keypool/account_keys
-- include: keypool/key_events
-- include: keypool/places
local now = read_pool_clock(prefix .. 'clock')
local key_hash, account_hash = prefix .. 'key:' .. key_id, prefix .. 'account:' .. account

-- To where its last cooldown leaves it.
local function bring_back(id)
  redis.call('HDEL', out, id)
  local ready_at = math.max(
    number(redis.call('HGET', prefix .. 'key:' .. id, 'ready_at_ms')),
    number(redis.call('HGET', account_hash, 'ready_at_ms')))
  if ready_at > now then
    redis.call('ZADD', cooling, plain(ready_at), id)
  else
    enter_ring(id)
  end
end

redis.call('ZADD', probes, now + next_ms, key_id)
local state = redis.call('HGET', out, key_id)
if said == 'nothing' then return 'unchanged' end
if said == 'refused' then
  if state == 'retired' then return 'unchanged' end
  take_out(key_id, 'retired')
  redis.call('HSET', key_hash, 'retired_at_ms', now, 'reason', 'upstream_auth', 'basis', 'stated')
  redis.call('PEXPIRE', key_hash, KEY_KEPT_MS)
  note_key_event('key_retired', key_id, account, 'pool', 'reason', 'upstream_auth')
  return 'retired'
end

redis.call('HSET', account_hash, 'points', points, 'points_at_ms', now)
redis.call('PEXPIRE', account_hash, KEY_KEPT_MS)
local is_operators = state == 'retired' and redis.call('HGET', key_hash, 'retired_by') == 'operator'
if state == 'retired' and not is_operators then
  redis.call('HDEL', key_hash, 'retired_at_ms', 'ready_at_ms', 'strikes')
  bring_back(key_id)
end
if points > 0 then
  redis.call('HDEL', account_hash, 'parked_at_ms')
  for _, id in ipairs(keys_of(account)) do
    if redis.call('HGET', out, id) == 'parked' then bring_back(id) end
  end
  if not state or is_operators then return 'unchanged' end
  note_key_event('key_restored', key_id, account, 'pool')
  return 'ready'
end
if state ~= 'parked' then redis.call('HSET', account_hash, 'parked_at_ms', now, 'reason', 'insufficient_quota', 'basis', 'stated') end
for _, id in ipairs(keys_of(account)) do
  if redis.call('HEXISTS', out, id) == 0 then take_out(id, 'parked') end
end
if state == 'parked' then return 'unchanged' end
note_key_event('key_parked', key_id, account, 'pool', 'reason', 'insufficient_quota')
return 'parked'
