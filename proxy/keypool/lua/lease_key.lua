-- Leases the key that was leased longest ago, among those that may be used, to a client that has room for it: both or
-- neither. Times in epoch milliseconds.
-- keypool/model.py does the same in Python; a test runs both side by side.
--
-- KEYS turns         counter of leases, shared by the whole fleet
--      ring          zset key id -> turn of its last lease: the keys that are ready
--      cooling       zset key id -> time it is ready again
--      out           hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      keyset        set of the key ids this instance has
-- ARGV prefix        of the keys named after a key id, an account, a bot or a client
--      lease_id
--      lease_ms      after which a lease that is neither settled nor renewed is void
--      bot           what the key is wanted for
--      rpm           requests an account may make in a window; 0 = no limit
--      window_ms
--      in_flight     leases a key may have at once; 0 = no limit
--      session       digest of the conversation that the request belongs to; '' = none
--      session_ms    how long after its last lease a session keeps its account
--      tried         list of the key ids that were tried for this request
--      left_out      list of the accounts to leave out
--      demand        what the request wants of its client's limits; nothing when it is nobody's
--        client          public id
--        permit          what the request holds things under until it ends
--        requests        how many it counts as
--        streams
--        prompt_tokens   of its prompts
--        output_tokens   that its answers are guessed to have
--        may_wait        1 if it waits for a place when others of the client have to end first
-- Returns {"leased", key id, turn, skipped, 1 if this request tries a bot that failed before, else 0, room, session}
--                                                 skipped: key id, why, key id, why...
--                                                 room: of the client: limit, left, ms to reset of its requests (a minute,
--                                                       or else a day), and the same of its tokens a day; 0 = no limit;
--                                                       requests left of the day, -1 = no limit
--                                                 session: 'hit' at the account it was at last, 'moved' to another,
--                                                       'new', or '' without one
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

-- include: pool_clock
-- include: keypool/kept_lease
-- include: keypool/account_minute

local FIRST_PAGE, PAGE, MAX_SKIPPED, BUSY_MS = 2, 32, 16, 25
local now, redis_now = read_pool_clock(prefix .. 'clock')
local lease_name, bot_hash, bot_cooldowns = prefix .. 'lease:' .. lease_id, prefix .. 'bot:' .. bot, prefix .. 'bot_rests:' .. bot

-- Nearly always there is the keyset and none of four others, which one call tells: the keyset counts five times.
local found = redis.call('EXISTS', keyset, keyset, keyset, keyset, keyset, lease_name, bot_hash, bot_cooldowns, cooling)
local has_keyset, is_usual = found >= 5, found == 5

local kept = not is_usual and redis.call('GET', lease_name)
if kept == VOID then return {'none', -1, -1, 0, 0, {}, ''} end -- its worker has taken it back
if kept then return read_kept_lease(kept) end
if not has_keyset then return {'unannounced'} end

-- The client: is there room for one more? Nothing but its line is written before a key is found.
local let_in
if client then
  -- include: clients/limits
  local want = {requests = requests, streams = streams, prompt = prompt_tokens, output = output_tokens, may_wait = may_wait == 1}
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

-- bot_cooldown_of: when a key and its account may be asked for this bot again, and why not before; nil when none cool down for it.
local tries_bot, bot_cooldown_of = false, nil
if not is_usual then
  -- include: keypool/breaker
  -- include: keypool/bot_cooldowns
  -- include: keypool/ring
  local wait_ms
  wait_ms, tries_bot = look_at_breaker(bot_hash, now)
  if wait_ms > 0 then return {'bot', wait_ms} end
  -- Keys that have cooled down return to the ring.
  for _, key_id in ipairs(redis.call('ZRANGEBYSCORE', cooling, '-inf', now, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', cooling, key_id)
    enter_ring(key_id)
  end
  if redis.call('EXISTS', bot_cooldowns) == 1 then
    bot_cooldown_of = function(key_id, account) return longest_bot_cooldown(bot_cooldowns, key_id, account, now) end
  end
end

-- So that tried[key_id] and left_out[account] tell.
for _, key_id in ipairs(tried) do tried[key_id] = true end
for _, account in ipairs(left_out) do left_out[account] = true end

-- When the account's window has room again; 0 = now.
local function window_of(account)
  if rpm == 0 then return 0 end
  local limit, stated = rpm, number(redis.call('HGET', prefix .. 'account:' .. account, 'rpm_limit'))
  if stated > 0 and stated < limit then limit = stated end
  return full_until(prefix .. 'minute:' .. account, limit, window_ms, now)
end

local function is_busy(key_id)
  if in_flight == 0 then return false end
  redis.call('ZREMRANGEBYSCORE', prefix .. 'leases:' .. key_id, '-inf', now)
  return redis.call('ZCARD', prefix .. 'leases:' .. key_id) >= in_flight
end

local skipped, full, soonest, why_bot_cooldowns = {}, {}, -1, nil
local function sooner(ms)
  if soonest < 0 or ms < soonest then soonest = ms end
end

-- Why a key is passed over, and in how many ms that ends, if it ends by itself; nil when it may be used.
local function hindrance(key_id, account)
  if tried[key_id] then return 'tried' end
  if left_out[account] then return 'account tried' end
  if bot_cooldown_of then
    local ready_at, why = bot_cooldown_of(key_id, account)
    why_bot_cooldowns = why_bot_cooldowns or why
    if ready_at > 0 then return 'cooling down for this bot', ready_at - now end
  end
  full[account] = full[account] or window_of(account)
  if full[account] > 0 then return 'requests a minute', full[account] - now end
  if is_busy(key_id) then return 'in flight', BUSY_MS end
  return nil
end

-- A session goes to the account it was at last, but not with a request that was tried there already. Its keys keep their places in
-- the ring, so that the others stay even.
local session_name, session_at, chosen, chosen_account = prefix .. 'session:' .. session, nil, nil, nil
local is_beside, has_several = false, false
if session ~= '' then session_at = redis.call('GET', session_name) end
if session_at and #tried == 0 then
  -- include: keypool/account_keys
  local key_ids, ready = keys_of(session_at), {}
  has_several = #key_ids > 1
  for _, key_id in ipairs(key_ids) do
    local turn = redis.call('SISMEMBER', keyset, key_id) == 1 and redis.call('ZSCORE', ring, key_id)
    local beside = turn and has_several and redis.call('HGET', prefix .. 'key:' .. key_id, 'session_turn')
    if turn then ready[#ready + 1] = {key_id, math.max(tonumber(turn), number(beside))} end
  end
  -- Of several, the one leased longest ago, in the ring or beside it.
  table.sort(ready, function(a, b) return a[2] < b[2] or a[2] == b[2] and a[1] < b[1] end)
  for _, one in ipairs(ready) do
    if not chosen and not hindrance(one[1], session_at) then chosen, chosen_account, is_beside = one[1], session_at, true end
  end
  why_bot_cooldowns = nil -- or else of the first in the ring
end

-- The first key of the ring that may be used, and its account: no account when that is not known, nil when there is no such key.
local function choose()
  local from, size = 0, FIRST_PAGE
  repeat
    local candidates = redis.call('ZRANGE', ring, from, from + size - 1)
    local is_last = #candidates < size
    from, size = from + size, PAGE
    for _, key_id in ipairs(candidates) do
      if redis.call('SISMEMBER', keyset, key_id) == 1 then
        local account = redis.call('HGET', prefix .. 'key:' .. key_id, 'account')
        if not account then return key_id, nil end
        local why, ms = hindrance(key_id, account)
        if not why then return key_id, account end
        if #skipped < 2 * MAX_SKIPPED then skipped[#skipped + 1], skipped[#skipped + 2] = key_id, why end
        if ms then sooner(ms) end
      end
    end
  until is_last
  return nil, nil
end

if not chosen then chosen, chosen_account = choose() end
if chosen and not chosen_account then return {'unannounced'} end

-- The keys of an account whose window is full leave the ring until it has room, so that nobody walks past them again.
for account, ready_at in pairs(full) do
  if ready_at > 0 then
    -- include: keypool/places
    -- include: keypool/account_keys
    for _, key_id in ipairs(keys_of(account)) do cool_until(key_id, ready_at) end
  end
end

-- Puts a key at the end of the ring; its turn. A counter that was deleted goes on from there: the key would be first in the ring
-- for as many leases again.
local function take_turn(key_id)
  local turn = redis.call('INCR', turns)
  if redis.call('ZADD', ring, 'GT', 'CH', plain(turn), key_id) == 1 then return turn end
  turn = tonumber(redis.call('ZRANGE', ring, -1, -1, 'WITHSCORES')[2]) + 1
  redis.call('SET', turns, plain(turn))
  redis.call('ZADD', ring, turn, key_id)
  return turn
end

-- A lease beside the ring counts, but only the order among the account's own keys is to know of it.
local function take_turn_beside(key_id)
  local turn = redis.call('INCR', turns)
  if has_several then
    -- include: keypool/kept
    redis.call('HSET', prefix .. 'key:' .. key_id, 'session_turn', turn)
    redis.call('PEXPIRE', prefix .. 'key:' .. key_id, KEY_KEPT_MS)
  end
  return turn
end

-- Has the session stay at this account; what that means for it.
local function keep_session(account)
  if session == '' then return '' end
  redis.call('SET', session_name, account, 'PX', session_ms)
  return session_at == account and 'hit' or session_at and 'moved' or 'new'
end

if chosen then
  local turn, leases = is_beside and take_turn_beside(chosen) or take_turn(chosen), prefix .. 'leases:' .. chosen
  if in_flight == 0 then redis.call('ZREMRANGEBYSCORE', leases, '-inf', plain(now)) end -- or else it was done to count them
  redis.call('ZADD', leases, plain(now + lease_ms), lease_id)
  redis.call('PEXPIRE', leases, plain(lease_ms))
  if rpm > 0 then note_request(prefix .. 'minute:' .. chosen_account, rpm, window_ms, now) end
  if tries_bot then redis.call('HSET', bot_hash, 'probing_until_ms', now + lease_ms, 'probing_lease', lease_id) end
  local leased = {'leased', chosen, turn, skipped, tries_bot and 1 or 0, let_in and let_in() or NO_ROOM, ''}
  leased[7] = keep_session(chosen_account)
  keep_lease(lease_name, leased, #skipped == 0 and not let_in)
  return leased
end

-- None: when is the soonest? Keys that were tried count for the caller's next request, not for this one. A key that cools down
-- for this bot longer than otherwise may stand before one that is ready sooner.
-- include: keypool/lost_keys
if has_lost_keys() then return {'unannounced'} end
local any = soonest
if #skipped > 0 and any < 0 then any = 0 end

-- Looks at one that cools down; whether those after it, which do so for longer, are to be looked at too.
local function look_at_cooling(key_id, wait)
  if redis.call('SISMEMBER', keyset, key_id) == 0 then return true end
  if any < 0 or wait < any then any = wait end
  if soonest >= 0 and wait >= soonest then return false end
  local account = redis.call('HGET', prefix .. 'key:' .. key_id, 'account') or key_id
  if tried[key_id] or left_out[account] then return true end
  local ready_at, why = now + wait, nil
  if bot_cooldown_of then ready_at, why = bot_cooldown_of(key_id, account) end
  if ready_at - now > wait then why_bot_cooldowns = why_bot_cooldowns or why end
  sooner(math.max(wait, ready_at - now))
  return true
end

local from, goes_on = 0, true
repeat
  local entries = redis.call('ZRANGE', cooling, from, from + PAGE - 1, 'WITHSCORES')
  from = from + PAGE
  for i = 1, #entries, 2 do
    goes_on = goes_on and look_at_cooling(entries[i], math.max(0, tonumber(entries[i + 1]) - now))
  end
until not goes_on or #entries < 2 * PAGE

local parked, retired = 0, 0
local states = redis.call('HGETALL', out)
for i = 1, #states, 2 do
  if redis.call('SISMEMBER', keyset, states[i]) == 1 then
    if states[i + 1] == 'parked' then parked = parked + 1 else retired = retired + 1 end
  end
end
return {'none', soonest, any, parked, retired, skipped, why_bot_cooldowns or ''}
