-- Everything known of some keys that somebody has announced. Reads only. Times in epoch milliseconds.
--
-- KEYS cooling      zset key id -> time it is ready again
--      out          hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      announced    zset key id -> time of its last announcement
--      probes       zset key id -> time its balance is to be asked for
-- ARGV prefix       of the keys named after a key id or an account
--      window_ms    of the requests a minute
--      key_ids      list; one that nobody has announced is left out
-- Returns {now, {key id, state, ms it still cools down, leases, requests in the window, time of its next probe or
--         nothing, 1 if it cools down until its account's minute has room, else 0, {key hash}, {account hash}}...}

-- include: pool_clock
-- include: keypool/count_later
local now = read_pool_clock(prefix .. 'clock', true)
local reply = {now}

-- Whether it is because of the request that was made then, if one was, that a key cools down until this time.
local function is_until_room(times, ready_at)
  if ready_at <= now then return false end
  local made_at = ready_at - window_ms
  return number(redis.call('LINDEX', times, count_later(times, made_at))) == made_at
end

local function describe(key_id)
  local key_hash = redis.call('HGETALL', prefix .. 'key:' .. key_id)
  local account = redis.call('HGET', prefix .. 'key:' .. key_id, 'account') or key_id
  local ready_at, times = number(redis.call('ZSCORE', cooling, key_id)), prefix .. 'minute:' .. account
  local cooldown_ms = math.max(0, ready_at - now)
  return {
    key_id,
    redis.call('HGET', out, key_id) or (cooldown_ms > 0 and 'cooling' or 'ready'),
    math.ceil(cooldown_ms),
    redis.call('ZCOUNT', prefix .. 'leases:' .. key_id, now, '+inf'),
    count_later(times, now - window_ms),
    redis.call('ZSCORE', probes, key_id) or '',
    is_until_room(times, ready_at) and 1 or 0,
    key_hash,
    redis.call('HGETALL', prefix .. 'account:' .. account),
  }
end

for _, key_id in ipairs(key_ids) do
  if redis.call('ZSCORE', announced, key_id) then reply[#reply + 1] = describe(key_id) end
end
return reply
