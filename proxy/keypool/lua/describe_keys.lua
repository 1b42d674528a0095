-- Everything known of some keys that somebody has announced. Reads only. Times in epoch milliseconds.
--
-- KEYS 1 ring       zset key id -> turn of its last lease: the keys that are ready
--      2 cooling    zset key id -> time it is ready again
--      3 out        hash key id -> 'retired' or 'parked': the keys that wait for a probe
--      4 announced  zset key id -> time of its last announcement
--      5 probes     zset key id -> time its balance is to be asked for
-- ARGV 1 prefix     of the keys named after a key id or an account
--      2 window ms  of the requests a minute
--      3.. key id...; one that nobody has announced is left out
-- Returns {now, {key id, state, ms it still cools down, leases, requests in the window, time of its next probe or
--         nothing, 1 if it cools down until its account's minute has room, else 0, {key hash}, {account hash}}...}
local ring, cooling, out, announced, probes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, window_ms = ARGV[1], tonumber(ARGV[2])

-- include: pool_clock
local now = read_pool_clock(prefix .. 'clock', true)
local reply = {now}

local function describe(key_id)
  local key_hash = redis.call('HGETALL', prefix .. 'key:' .. key_id)
  local account = redis.call('HGET', prefix .. 'key:' .. key_id, 'account') or key_id
  local ready_at = tonumber(redis.call('ZSCORE', cooling, key_id) or 0)
  local cooldown_ms = math.max(0, ready_at - now)
  local state = redis.call('HGET', out, key_id) or (cooldown_ms > 0 and 'cooling' or 'ready')
  local in_window, is_counted = 0, 0
  for _, at in ipairs(redis.call('LRANGE', prefix .. 'minute:' .. account, 0, 9999)) do
    if tonumber(at) + window_ms <= now then break end
    in_window = in_window + 1
    if tonumber(at) + window_ms == ready_at then is_counted = 1 end
  end
  reply[#reply + 1] = {
    key_id, state, math.ceil(cooldown_ms), redis.call('ZCOUNT', prefix .. 'leases:' .. key_id, now, '+inf'), in_window,
    redis.call('ZSCORE', probes, key_id) or '', is_counted, key_hash, redis.call('HGETALL', prefix .. 'account:' .. account),
  }
end

for i = 3, #ARGV do
  if redis.call('ZSCORE', announced, ARGV[i]) then describe(ARGV[i]) end
end
return reply
