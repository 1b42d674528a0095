-- Leases the key that was leased longest ago, among those that may be used, to a client that has room for it: both or
-- neither. Times in epoch milliseconds.
-- keypool/model.py does the same in Python; a test runs both side by side.
--
-- KEYS 1 turn       counter of leases, shared by the whole fleet
--      2 ring       zset key id -> turn of its last lease: the keys that are ready
--      3 cooling    zset key id -> time it is ready again
--      4 out        hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      5 keyset     set of the key ids this instance has
-- ARGV 1 prefix     of the keys named after a key id, an account or a bot
--      2 lease id
--      3 lease ms   after which a lease that is neither settled nor renewed is void
--      4 bot        what the key is wanted for
--      5 rpm        requests an account may make in a window; 0 = no limit
--      6 window ms
--      7 in flight  leases a key may have at once; 0 = no limit
--      8 client     public id of a managed client whose limits count; '' = nobody's do
--      9 wants      of that client's: 'permit requests streams prompt output wait': what the request holds things under until it
--                   ends, how many requests and streams it counts as, the tokens of its prompts, those that its answers are
--                   guessed to have, and 1 if it waits for a place when others of the client have to end first
--     10 count      of the tried key ids that follow; after them come the accounts to leave out
-- Returns {"leased", key id, turn, skipped, 1 if this request tries a bot that failed before, else 0, room}
--                                                 skipped: key id, why, key id, why...
--                                                 room: of the client: limit, left, ms to reset of its requests (a minute,
--                                                       or else a day), and the same of its tokens a day; 0 = no limit;
--                                                       requests left of the day, -1 = no limit
--      or {"none", ms until a key not tried is ready, ms until any key is ready, parked, retired, skipped, bot cooldowns}
--                                                 -1 = no such key; parked, retired: how many of this instance's keys;
--                                                 bot cooldowns: where they are part of the reason, the outcome that began the
--                                                 first of them; else ''
--      or {"client", why, ms, limit, used, held, wanted, waits, ahead}
--                                                 the client has no room ('requests_per_minute', 'streams',
--                                                 'requests_per_day', 'tokens_per_day'; ms until it has, -1 = never; waits: 1 if
--                                                 it stands in line, behind so many), or is 'gone'
--      or {"bot", ms}                             the bot failed for several keys; nobody is to try before
--      or {"unannounced"}                         Redis does not know this instance's keys; announce them, ask again
local turn_name, ring, cooling, out, keyset = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, lease_id, lease_ms, bot = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local rpm, window_ms, in_flight_cap = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local client, wants, tried_count = ARGV[8], ARGV[9], tonumber(ARGV[10])
local tried, left_out = {}, {}
for i = 11, 10 + tried_count do tried[ARGV[i]] = true end
for i = 11 + tried_count, #ARGV do left_out[ARGV[i]] = true end

local FIRST_PAGE, PAGE, MAX_SKIPPED, BUSY_MS, REPEATED_WITHIN_MS = 2, 32, 16, 25, 20000
-- include: pool_clock
-- include: lost_keys
local now, redis_now = read_pool_clock(prefix .. 'clock')
local function number(value) return tonumber(value or 0) or 0 end

-- A lease that is sent again, because the connection was cut before the answer came, is the same lease: nothing counts twice.
-- The usual answer, of nothing but a key, is kept as 'key turn tries-bot', which is quicker than JSON.
local NO_ROOM = {0, 0, 0, 0, 0, 0, -1}
local answer_name, bot_hash, bot_cooldowns = prefix .. 'lease:' .. lease_id, prefix .. 'bot:' .. bot, prefix .. 'bot_rests:' .. bot

-- Nearly always there is the keyset and none of four others, which one call tells: the keyset counts five times.
local found = redis.call('EXISTS', keyset, keyset, keyset, keyset, keyset, answer_name, bot_hash, bot_cooldowns, cooling)
local has_keyset, is_usual = found >= 5, found == 5

local answer = not is_usual and redis.call('GET', answer_name)
if answer then
  local key_id, turn, tries_bot = string.match(answer, '^(%S+) (%d+) (%d)$')
  if key_id then return {'leased', key_id, tonumber(turn), {}, tonumber(tries_bot), NO_ROOM} end
  if answer == 'void' then return {'none', -1, -1, 0, 0, {}, ''} end -- its worker has taken it back
  return cjson.decode(answer)
end

if not has_keyset then return {'unannounced'} end

-- The client: is there room for one more? Nothing but its line is written before a key is found.
local let_in
if client ~= '' then
-- include: clients/client_held
-- include: clients/client_limits
  local permit, requests, streams, prompt, output, may_wait = string.match(wants, '^(%S+) (%d+) (%d+) (%d+) (%d+) (%d)$')
  local want = {requests = tonumber(requests), streams = tonumber(streams), prompt = tonumber(prompt), output = tonumber(output),
    may_wait = may_wait == '1'}
  local state = read_client(prefix, client, permit, now, redis_now)
  if not state then return {'client', 'gone', 0, 0, 0, 0, 0, 0, 0} end
  local line, reserve = look_at_line(state), reserve_for(state, want)
  local refusal = not state.is_in and lacking(state, want, line, reserve)
  if refusal then
    stand_in_line(state, want, line, refusal)
    return refusal
  end
  let_in = function() return admit(state, want, line, reserve, lease_ms) end
end

-- The bot's breaker: while open nobody asks; after that one request at a time finds out.
local breaker = is_usual and {} or redis.call('HMGET', bot_hash, 'open_until_ms', 'probing_until_ms')
local open_until, probing_until = number(breaker[1]), number(breaker[2])
if open_until > now then return {'bot', open_until - now} end
if open_until > 0 and probing_until > now then return {'bot', math.min(1000, probing_until - now)} end

-- Keys that have cooled down return to the ring with the turn they left it with.
for _, key_id in ipairs(is_usual and {} or redis.call('ZRANGEBYSCORE', cooling, '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', cooling, key_id)
  redis.call('ZADD', ring, number(redis.call('HGET', prefix .. 'key:' .. key_id, 'turn')), key_id)
end

local has_bot_cooldowns = not is_usual and redis.call('EXISTS', bot_cooldowns) == 1
local skipped, full, soonest, why_bot_cooldowns = {}, {}, -1, ''
local function sooner(ms)
  if soonest < 0 or ms < soonest then soonest = ms end
end
local function skip(key_id, why)
  if #skipped < 2 * MAX_SKIPPED then
    skipped[#skipped + 1] = key_id
    skipped[#skipped + 1] = why
  end
end
-- When the key and its account may be asked for this bot again, and why they cool down; 0 = now.
local function bot_cooldown_of(key_id, account)
  if not has_bot_cooldowns then return 0, '' end
  local latest, why = 0, ''
  for _, cooldown in ipairs(redis.call('HMGET', bot_cooldowns, account, key_id)) do
    local ready_at, outcome = string.match(cooldown or '', '^(%d+) %d+ (.*)$')
    if number(ready_at) > math.max(latest, now) then latest, why = number(ready_at), outcome end
  end
  return latest, why
end
local function note_bot_cooldowns(why)
  if why_bot_cooldowns == '' then why_bot_cooldowns = why end
end
-- When the account's window has room again; 0 = now.
local function window_of(account)
  if rpm == 0 then return 0 end
  local limit = rpm
  local seen = number(redis.call('HGET', prefix .. 'account:' .. account, 'rpm_limit'))
  if seen > 0 and seen < limit then limit = seen end
  local oldest = number(redis.call('LINDEX', prefix .. 'minute:' .. account, limit - 1))
  return oldest + window_ms > now and oldest > 0 and oldest + window_ms or 0
end
local function is_busy(key_id)
  if in_flight_cap == 0 then return false end
  redis.call('ZREMRANGEBYSCORE', prefix .. 'leases:' .. key_id, '-inf', now)
  return redis.call('ZCARD', prefix .. 'leases:' .. key_id) >= in_flight_cap
end

local chosen, chosen_account
local from, size, is_last = 0, FIRST_PAGE, false
repeat
  local candidates = redis.call('ZRANGE', ring, from, from + size - 1)
  from, size, is_last = from + size, PAGE, #candidates < size
  for _, key_id in ipairs(candidates) do
    if redis.call('SISMEMBER', keyset, key_id) == 1 then
      local account = redis.call('HGET', prefix .. 'key:' .. key_id, 'account')
      if not account then return {'unannounced'} end
      if tried[key_id] then
        skip(key_id, 'tried')
      elseif left_out[account] then
        skip(key_id, 'account tried')
      else
        local ready_at, why = bot_cooldown_of(key_id, account)
        if ready_at > 0 then
          skip(key_id, 'cooling down for this bot')
          sooner(ready_at - now)
          note_bot_cooldowns(why)
        else
          full[account] = full[account] or window_of(account)
          if full[account] > 0 then
            skip(key_id, 'requests a minute')
            sooner(full[account] - now)
          elseif is_busy(key_id) then
            skip(key_id, 'in flight')
            sooner(BUSY_MS)
          else
            chosen, chosen_account = key_id, account
            break
          end
        end
      end
    end
  end
until chosen or is_last

-- The keys of an account whose window is full leave the ring until it has room, so that nobody walks past them again.
for account, ready_at in pairs(full) do
  if ready_at > 0 then
    for _, key_id in ipairs(redis.call('SMEMBERS', prefix .. 'account_keys:' .. account)) do
      local turn = redis.call('ZSCORE', ring, key_id)
      if turn then
        redis.call('HSET', prefix .. 'key:' .. key_id, 'turn', turn)
        redis.call('ZREM', ring, key_id)
        redis.call('ZADD', cooling, ready_at, key_id)
      elseif ready_at > number(redis.call('ZSCORE', cooling, key_id)) and redis.call('HEXISTS', out, key_id) == 0 then
        redis.call('ZADD', cooling, ready_at, key_id)
      end
    end
  end
end

if chosen then
  local turn = redis.call('INCR', turn_name)
  if turn <= tonumber(redis.call('ZSCORE', ring, chosen)) then -- the counter was deleted: the key would be first in the ring for as many leases again
    turn = tonumber(redis.call('ZRANGE', ring, -1, -1, 'WITHSCORES')[2]) + 1
    redis.call('SET', turn_name, string.format('%.0f', turn))
  end
  local leases = prefix .. 'leases:' .. chosen
  redis.call('ZADD', ring, turn, chosen)
  if in_flight_cap == 0 then redis.call('ZREMRANGEBYSCORE', leases, '-inf', now) end -- or else it was done to count them
  redis.call('ZADD', leases, now + lease_ms, lease_id)
  redis.call('PEXPIRE', leases, lease_ms)
  if rpm > 0 then
    local minute = prefix .. 'minute:' .. chosen_account
    if redis.call('LPUSH', minute, now) > rpm then redis.call('LTRIM', minute, 0, rpm - 1) end
    redis.call('PEXPIRE', minute, window_ms)
  end
  if open_until > 0 then
    redis.call('HSET', bot_hash, 'probing_until_ms', now + lease_ms, 'probing_lease', lease_id)
  end
  local tries_bot = open_until > 0 and 1 or 0
  local leased = {'leased', chosen, turn, skipped, tries_bot, let_in and let_in() or NO_ROOM}
  local kept = (let_in or #skipped > 0) and cjson.encode(leased) or string.format('%s %.0f %d', chosen, turn, tries_bot)
  redis.call('SET', answer_name, kept, 'PX', REPEATED_WITHIN_MS)
  return leased
end

-- None: when is the soonest? Keys that were tried count for the caller's next request, not for this one. A key that cools down
-- for this bot longer than otherwise may stand before one that is ready sooner.
if has_lost_keys(prefix, keyset) then return {'unannounced'} end
local any = soonest
if #skipped > 0 and any < 0 then any = 0 end
local page = 0
local looking = true
repeat
  local sleepers = redis.call('ZRANGE', cooling, page * PAGE, page * PAGE + PAGE - 1, 'WITHSCORES')
  for i = 1, #sleepers, 2 do
    local key_id, wait = sleepers[i], math.max(0, tonumber(sleepers[i + 1]) - now)
    if looking and redis.call('SISMEMBER', keyset, key_id) == 1 then
      local account = redis.call('HGET', prefix .. 'key:' .. key_id, 'account') or key_id
      if any < 0 or wait < any then any = wait end
      if soonest >= 0 and wait >= soonest then
        looking = false
      elseif not tried[key_id] and not left_out[account] then
        local ready_at, why = bot_cooldown_of(key_id, account)
        if ready_at - now > wait then note_bot_cooldowns(why) end
        sooner(math.max(wait, ready_at - now))
      end
    end
  end
  page = page + 1
until not looking or #sleepers < 2 * PAGE

local parked, retired = 0, 0
local states = redis.call('HGETALL', out)
for i = 1, #states, 2 do
  if redis.call('SISMEMBER', keyset, states[i]) == 1 then
    if states[i + 1] == 'parked' then parked = parked + 1 else retired = retired + 1 end
  end
end
return {'none', soonest, any, parked, retired, skipped, why_bot_cooldowns}
