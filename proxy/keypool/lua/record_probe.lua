-- Applies what Poe said of a key's balance, and notes in the stream of events what becomes of the key. Times in epoch
-- milliseconds.
--
-- KEYS 1 ring       zset key id -> turn of its last lease: the keys that are ready
--      2 cooling    zset key id -> time it is ready again
--      3 out        hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      4 probes     zset key id -> time its balance is to be asked for
-- ARGV 1 prefix     of the keys named after a key id or an account
--      2 key id
--      3 account
--      4 said       'refused' (Poe does not know the key), 'points', or 'nothing' (it could not be found out)
--      5 points     of the account
--      6 next ms    until the next probe of this key
--      7 keep ms    how long what is known is kept
-- Returns what became of the key: 'ready', 'parked', 'retired' or 'unchanged'
local ring, cooling, out, probes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, key_id, account, said = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local points, next_ms, keep_ms = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

-- include: pool_clock
local now = read_pool_clock(prefix .. 'clock')
local function number(value) return tonumber(value or 0) or 0 end
local account_hash = prefix .. 'account:' .. account

local function note(kind, ...)
  redis.pcall('XADD', prefix .. 'events', 'MAXLEN', '~', 10000, '*', 'kind', kind, 'key', key_id, 'account', account,
    'by', 'pool', ...)
end

local function leave(id, state)
  local turn = redis.call('ZSCORE', ring, id)
  if turn then redis.call('HSET', prefix .. 'key:' .. id, 'turn', turn) end
  redis.call('ZREM', ring, id)
  redis.call('ZREM', cooling, id)
  redis.call('HSET', out, id, state)
end

local function come_back(id)
  redis.call('HDEL', out, id)
  local ready_at = math.max(
    number(redis.call('HGET', prefix .. 'key:' .. id, 'ready_at_ms')),
    number(redis.call('HGET', account_hash, 'ready_at_ms')))
  if ready_at > now then
    redis.call('ZADD', cooling, string.format('%.0f', ready_at), id)
  else
    redis.call('ZADD', ring, number(redis.call('HGET', prefix .. 'key:' .. id, 'turn')), id)
  end
end

redis.call('ZADD', probes, now + next_ms, key_id)
local state = redis.call('HGET', out, key_id)
if said == 'nothing' then return 'unchanged' end
if said == 'refused' then
  if state == 'retired' then return 'unchanged' end
  leave(key_id, 'retired')
  redis.call('HSET', prefix .. 'key:' .. key_id, 'retired_at_ms', now, 'reason', 'upstream_auth', 'basis', 'stated')
  redis.call('PEXPIRE', prefix .. 'key:' .. key_id, keep_ms)
  note('key_retired', 'reason', 'upstream_auth')
  return 'retired'
end

redis.call('HSET', account_hash, 'points', points, 'points_at_ms', now)
redis.call('PEXPIRE', account_hash, keep_ms)
local is_operators = state == 'retired' and redis.call('HGET', prefix .. 'key:' .. key_id, 'retired_by') == 'operator'
if state == 'retired' and not is_operators then
  redis.call('HDEL', prefix .. 'key:' .. key_id, 'retired_at_ms', 'ready_at_ms', 'strikes')
  come_back(key_id)
end
if points > 0 then
  redis.call('HDEL', account_hash, 'parked_at_ms')
  for _, id in ipairs(redis.call('SMEMBERS', prefix .. 'account_keys:' .. account)) do
    if redis.call('HGET', out, id) == 'parked' then come_back(id) end
  end
  if not state or is_operators then return 'unchanged' end
  note('key_restored')
  return 'ready'
end
if state ~= 'parked' then redis.call('HSET', account_hash, 'parked_at_ms', now, 'reason', 'insufficient_quota', 'basis', 'stated') end
for _, id in ipairs(redis.call('SMEMBERS', prefix .. 'account_keys:' .. account)) do
  if redis.call('HEXISTS', out, id) == 0 then leave(id, 'parked') end
end
if state == 'parked' then return 'unchanged' end
note('key_parked', 'reason', 'insufficient_quota')
return 'parked'
