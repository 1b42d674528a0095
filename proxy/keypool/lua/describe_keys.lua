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
local now = read_pool_clock(prefix .. 'clock', true)
local reply = {now}

local function describe(key_id)
  local key_hash = redis.call('HGETALL', prefix .. 'key:' .. key_id)
  local account = redis.call('HGET', prefix .. 'key:' .. key_id, 'account') or key_id
  local ready_at, times = number(redis.call('ZSCORE', cooling, key_id)), prefix .. 'minute:' .. account
  local cooldown_ms = math.max(0, ready_at - now)
  local in_window, is_counted = 0, 0
  for _, at in ipairs(redis.call('LRANGE', times, 0, 9999)) do
    if tonumber(at) + window_ms <= now then break end
    in_window = in_window + 1
    if tonumber(at) + window_ms == ready_at then is_counted = 1 end
  end
  return {
    key_id,
    redis.call('HGET', out, key_id) or (cooldown_ms > 0 and 'cooling' or 'ready'),
    math.ceil(cooldown_ms),
    redis.call('ZCOUNT', prefix .. 'leases:' .. key_id, now, '+inf'),
    in_window,
    redis.call('ZSCORE', probes, key_id) or '',
    is_counted,
    key_hash,
    redis.call('HGETALL', prefix .. 'account:' .. account),
  }
end

for _, key_id in ipairs(key_ids) do
  if redis.call('ZSCORE', announced, key_id) then reply[#reply + 1] = describe(key_id) end
end
return reply
