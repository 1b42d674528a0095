-- Ends a lease and applies what was learned about its key, its account and the bot. Times in epoch milliseconds.
-- A cooldown that begins by it is noted in the stream of events, once. keypool/model.py does the same in Python; a test runs
-- both side by side.
--
-- KEYS 1 ring       zset key id -> turn of its last lease: the keys that are ready
--      2 cooling    zset key id -> time it is ready again
--      3 out        hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      4 probes     zset key id -> time its balance is to be asked for
-- ARGV 1 prefix     of the keys named after a key id, an account, a bot or a worker
--      2 worker     who settles
--      3 number     of this settlement among the worker's own: one that was applied is not applied again
--      4 lease id
--      5 key id
--      6 account
--      7 bot
--      8 outcome    counted in the key's hash under this name
--      9 effect     'clear', 'none', 'cool key', 'cool account', 'cool key for bot', 'cool account for bot',
--                   'doubt key' (cool it, and probe it at once), 'doubt account' (cool it for the bot, and probe the
--                   key at once) or 'blame bot'
--     10 stated ms  how long Poe said to wait; -1 when it did not, and the time is guessed
--     11 base ms    first guess, doubled with each fault in a row
--     12 cap ms     longest guess
--     13 age ms     how long ago this happened, when it could not be told at once
--     14 keep ms    how long what is known of a key is kept after its last use
--     15 rpm        requests a minute that Poe's headers allow the account; 0 = not said
-- Returns the ms that the cooldown it begins lasts from now, 0 when it begins none
local ring, cooling, out, probes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, worker, sequence, lease_id = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local key_id, account, bot, outcome, effect = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local stated_ms, base_ms, cap_ms, age_ms = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local keep_ms, rpm = tonumber(ARGV[14]), tonumber(ARGV[15])

local BOT_STRIKES, BOT_KEEP_MS = 3, 3600000
-- include: pool_clock
local key_hash, account_hash, bot_hash = prefix .. 'key:' .. key_id, prefix .. 'account:' .. account, prefix .. 'bot:' .. bot
local bot_cooldowns = prefix .. 'bot_rests:' .. bot
local function number(value) return tonumber(value or 0) or 0 end
local function plain(value) return string.format('%.0f', value) end

local applied = prefix .. 'applied:' .. worker
if number(redis.call('GET', applied)) >= sequence then return 0 end

redis.call('ZREM', prefix .. 'leases:' .. key_id, lease_id)
redis.call('HINCRBY', key_hash, outcome, 1)
redis.call('PEXPIRE', key_hash, keep_ms)
-- Not before: where something else stands in the hash's place, the settlement fails whole and is told again.
redis.call('SET', applied, ARGV[3], 'PX', 86400000)
if rpm > 0 then
  redis.call('HSET', account_hash, 'rpm_limit', rpm)
  redis.call('PEXPIRE', account_hash, keep_ms)
end

if effect == 'clear' then
  redis.call('HDEL', key_hash, 'strikes')
  redis.call('HDEL', account_hash, 'strikes')
  if redis.call('EXISTS', bot_cooldowns, bot_hash) > 0 then
    redis.call('HDEL', bot_cooldowns, account, key_id)
    redis.call('DEL', bot_hash)
  end
  return 0
end
local now = read_pool_clock(prefix .. 'clock')
-- A request that was to find out about the bot and did not: the next one may.
local was_probe = redis.call('HGET', bot_hash, 'probing_lease') == lease_id
if was_probe then redis.call('HDEL', bot_hash, 'probing_until_ms', 'probing_lease') end
if effect == 'none' then return 0 end

-- An event never holds up a settlement: whatever stands in the stream's place.
local function note(...) redis.pcall('XADD', prefix .. 'events', 'MAXLEN', '~', 10000, '*', 'kind', ...) end
local function note_cooled(scope, ready_at, ...)
  note('key_cooled', 'key', key_id, 'account', account, 'scope', scope, 'reason', outcome,
    'basis', stated_ms < 0 and 'guessed' or 'stated', 'rest_ms', plain(ready_at - now), 'by', 'pool', ...)
end

local function guess(strikes) return math.min(cap_ms, base_ms * 2 ^ math.min(strikes - 1, 30)) end

-- A cooldown of this length from the time of the fault, noted in a hash; a shorter one never shortens a longer. Returns until
-- when it lasts, and whether it begins now.
local function note_cooldown(hash, cooldown_ms, field)
  local ready_at = now - age_ms + cooldown_ms
  local before = number(redis.call('HGET', hash, field))
  if ready_at > before then
    redis.call('HSET', hash, field, plain(ready_at), 'reason', outcome, 'basis', stated_ms < 0 and 'guessed' or 'stated')
  end
  redis.call('PEXPIRE', hash, keep_ms)
  return ready_at, before <= now and ready_at > now
end

local function leave_ring(id)
  local turn = redis.call('ZSCORE', ring, id)
  if turn then
    redis.call('HSET', prefix .. 'key:' .. id, 'turn', turn)
    redis.call('PEXPIRE', prefix .. 'key:' .. id, keep_ms)
    redis.call('ZREM', ring, id)
  end
end

local function cool(id, ready_at)
  if ready_at <= now or redis.call('HEXISTS', out, id) == 1 then return end
  leave_ring(id)
  if ready_at > number(redis.call('ZSCORE', cooling, id)) then redis.call('ZADD', cooling, plain(ready_at), id) end
end

if effect == 'blame bot' then
  local strikes = redis.call('HINCRBY', bot_hash, 'strikes', 1)
  local ready_at, is_new = now, false
  if strikes >= BOT_STRIKES then
    ready_at, is_new = note_cooldown(bot_hash, guess(strikes - BOT_STRIKES + 1), 'open_until_ms')
  end
  if is_new then note('bot_rests', 'bot', bot, 'reason', outcome, 'rest_ms', plain(ready_at - now)) end
  redis.call('PEXPIRE', bot_hash, math.max(BOT_KEEP_MS, ready_at - now + BOT_KEEP_MS))
  return math.max(0, ready_at - now)
end

-- What is to be looked at first: before all keys whose time has come.
local function probe_at_once() redis.call('ZADD', probes, 0, key_id) end

local cools_for_bot = ({['cool key for bot'] = key_id, ['cool account for bot'] = account, ['doubt account'] = account})[effect]
if cools_for_bot then
  local before, strikes = string.match(redis.call('HGET', bot_cooldowns, cools_for_bot) or '', '^(%d+) (%d+)')
  before, strikes = number(before), number(strikes)
  if before <= now then strikes = strikes + 1 end -- those that were under way when the cooldown began are no new strikes
  local ready_at = now - age_ms + (stated_ms < 0 and guess(strikes) or stated_ms)
  redis.call('HSET', bot_cooldowns, cools_for_bot, plain(math.max(before, ready_at)) .. ' ' .. strikes .. ' ' .. outcome)
  redis.call('PEXPIRE', bot_cooldowns, math.max(redis.call('PTTL', bot_cooldowns), ready_at - now + BOT_KEEP_MS, 1))
  if before <= now and ready_at > now then note_cooled('bot', ready_at, 'bot', bot) end
  if effect == 'doubt account' then probe_at_once() end
  return math.max(0, ready_at - now)
end

local hash = effect == 'cool account' and account_hash or key_hash
local strikes = redis.call('HINCRBY', hash, 'strikes', 1)
local ready_at, is_new = note_cooldown(hash, stated_ms < 0 and guess(strikes) or stated_ms, 'ready_at_ms')
if is_new and redis.call('HEXISTS', out, key_id) == 0 then
  note_cooled(effect == 'cool account' and 'account' or 'key', ready_at)
end
if effect == 'doubt key' then probe_at_once() end
if effect == 'cool account' then
  local account_keys = prefix .. 'account_keys:' .. account
  redis.call('SADD', account_keys, key_id) -- it may have been deleted
  redis.call('PEXPIRE', account_keys, keep_ms)
  for _, id in ipairs(redis.call('SMEMBERS', account_keys)) do cool(id, ready_at) end
else
  cool(key_id, ready_at)
end
return math.max(0, ready_at - now)
