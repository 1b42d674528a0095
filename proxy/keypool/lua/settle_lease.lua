-- Ends a lease and applies what was learned about its key, its account and the bot. Times in epoch milliseconds.
-- A cooldown that begins by it is noted in the stream of events, once. keypool/model.py does the same in Python; a test runs
-- both side by side.
--
-- KEYS ring         zset key id -> turn of its last lease: the keys that are ready
--      cooling      zset key id -> time it is ready again
--      out          hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      probes       zset key id -> time its balance is to be asked for
-- ARGV prefix       of the keys named after a key id, an account, a bot or a worker
--      worker       who settles
--      sequence     number of this settlement among the worker's own: one that was applied is not applied again
--      lease_id
--      key_id
--      account
--      bot
--      outcome      counted in the key's hash under this name
--      effect       'clear', 'none', 'cool key', 'cool account', 'cool key for bot', 'cool account for bot',
--                   'doubt key' (cool it, and probe it at once), 'doubt account' (cool it for the bot, and probe the
--                   key at once) or 'blame bot'
--      stated_ms    how long Poe said to wait; -1 when it did not, and the time is guessed
--      base_ms      first guess, doubled with each fault in a row
--      cap_ms       longest guess
--      age_ms       how long ago this happened, when it could not be told at once
--      rpm          requests a minute that Poe's headers allow the account; 0 = not said
-- Returns the ms that the cooldown it begins lasts from now, 0 when it begins none

-- include: numbered
-- include: keypool/kept
local key_hash, account_hash, bot_hash = prefix .. 'key:' .. key_id, prefix .. 'account:' .. account, prefix .. 'bot:' .. bot
local bot_cooldowns, applied = prefix .. 'bot_rests:' .. bot, prefix .. 'applied:' .. worker

if (tonumber(redis.call('GET', applied) or 0) or 0) >= sequence then return 0 end
redis.call('ZREM', prefix .. 'leases:' .. key_id, lease_id)
redis.call('HINCRBY', key_hash, outcome, 1)
redis.call('PEXPIRE', key_hash, KEY_KEPT_MS)
-- Not before: where something else stands in the hash's place, the settlement fails whole and is told again.
redis.call('SET', applied, sequence, 'PX', NUMBER_KEPT_MS)
if rpm > 0 then
  redis.call('HSET', account_hash, 'rpm_limit', rpm)
  redis.call('PEXPIRE', account_hash, KEY_KEPT_MS)
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
-- Nearly every settlement has ended by now: what follows costs it nothing.

-- include: pool_clock
-- include: keypool/breaker
local now = read_pool_clock(prefix .. 'clock')
stop_trying(bot_hash, lease_id)
if effect == 'none' then return 0 end

-- include: keypool/key_events
-- include: keypool/cooldown
-- include: keypool/bot_cooldowns
-- include: keypool/account_keys
-- include: keypool/places
local basis = stated_ms < 0 and 'guessed' or 'stated'

-- How long a cooldown lasts after so many strikes in a row.
local function length_ms(strikes) return stated_ms < 0 and guess_ms(strikes, base_ms, cap_ms) or stated_ms end

local function note_cooled(scope, ready_at, ...)
  note_key_event('key_cooled', key_id, account, 'pool', 'scope', scope, 'reason', outcome, 'basis', basis,
    'rest_ms', plain(ready_at - now), ...)
end

-- Notes a cooldown of this length in a field of a hash, from the time of the fault; a shorter one never shortens a longer.
-- Returns until when it lasts, and whether it begins now.
local function note_cooldown(hash, field, cooldown_ms)
  local ready_at = now - age_ms + cooldown_ms
  local before = number(redis.call('HGET', hash, field))
  if ready_at > before then redis.call('HSET', hash, field, plain(ready_at), 'reason', outcome, 'basis', basis) end
  redis.call('PEXPIRE', hash, KEY_KEPT_MS)
  return ready_at, before <= now and ready_at > now
end

-- Each of the following returns until when what it has cooled cools down.

local function blame_bot()
  local strikes, ready_at, is_new = redis.call('HINCRBY', bot_hash, 'strikes', 1), now, false
  if strikes >= BOT_STRIKES then
    ready_at, is_new = note_cooldown(bot_hash, 'open_until_ms', guess_ms(strikes - BOT_STRIKES + 1, base_ms, cap_ms))
  end
  if is_new then note_event(prefix .. 'events', 'bot_rests', 'bot', bot, 'reason', outcome, 'rest_ms', plain(ready_at - now)) end
  redis.call('PEXPIRE', bot_hash, math.max(BOT_KEPT_MS, ready_at - now + BOT_KEPT_MS))
  return ready_at
end

-- whom: a key id or an account.
local function cool_for_bot(whom)
  local before, strikes = read_bot_cooldown(redis.call('HGET', bot_cooldowns, whom))
  if before <= now then strikes = strikes + 1 end -- those that were under way when the cooldown began are no new strikes
  local ready_at = now - age_ms + length_ms(strikes)
  redis.call('HSET', bot_cooldowns, whom, plain(math.max(before, ready_at)) .. ' ' .. strikes .. ' ' .. outcome)
  redis.call('PEXPIRE', bot_cooldowns, math.max(redis.call('PTTL', bot_cooldowns), ready_at - now + BOT_KEPT_MS, 1))
  if before <= now and ready_at > now then note_cooled('bot', ready_at, 'bot', bot) end
  return ready_at
end

-- scope: 'key' or 'account'; its hash; its key ids.
local function cool(scope, hash, key_ids)
  local strikes = redis.call('HINCRBY', hash, 'strikes', 1)
  local ready_at, is_new = note_cooldown(hash, 'ready_at_ms', length_ms(strikes))
  if is_new and redis.call('HEXISTS', out, key_id) == 0 then note_cooled(scope, ready_at) end
  for _, id in ipairs(ready_at > now and key_ids or {}) do cool_until(id, ready_at) end
  return ready_at
end

local function cool_account()
  local account_keys = prefix .. 'account_keys:' .. account
  redis.call('SADD', account_keys, key_id) -- it may have been deleted
  redis.call('PEXPIRE', account_keys, KEY_KEPT_MS)
  return cool('account', account_hash, keys_of(account))
end

-- Has the key looked at before all whose time has come.
if effect == 'doubt key' or effect == 'doubt account' then redis.call('ZADD', probes, 0, key_id) end

local ready_at
if effect == 'blame bot' then
  ready_at = blame_bot()
elseif effect == 'cool key for bot' then
  ready_at = cool_for_bot(key_id)
elseif effect == 'cool account for bot' or effect == 'doubt account' then
  ready_at = cool_for_bot(account)
elseif effect == 'cool account' then
  ready_at = cool_account()
else
  ready_at = cool('key', key_hash, {key_id})
end
return math.max(0, ready_at - now)
