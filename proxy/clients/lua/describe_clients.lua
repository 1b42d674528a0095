-- Everything known of some managed clients. Times in epoch milliseconds.
--
-- KEYS 1 clock      the pool's clock
-- ARGV 1 prefix     of the keys named after a client
--      2 day        today, such as 20260131 (UTC)
--      3.. public id...
-- Returns {Redis's own time, {public id, its hash, requests in the last minute, requests under way, requests today, tokens today}...}
local clock = KEYS[1]
local prefix, day = ARGV[1], ARGV[2]

-- include: pool_clock
local now, redis_now = read_pool_clock(clock, true)

-- Streams of the requests that have not ended, each choice one.
local function under_way(client_id)
  local permits = redis.call('ZRANGEBYSCORE', prefix .. 'client_slots:' .. client_id, '(' .. now, '+inf', 'LIMIT', 0, 1000)
  if #permits == 0 then return 0 end
  local streams = 0
  for _, held in ipairs(redis.call('HMGET', prefix .. 'client_held:' .. client_id, unpack(permits))) do
    streams = streams + tonumber(held and string.match(held, '^%d+') or 0)
  end
  return streams
end

local described = {redis_now}
for i = 3, #ARGV do
  local client_id = ARGV[i]
  local today = redis.call('HMGET', prefix .. 'client_day:' .. client_id .. ':' .. day, 'requests', 'tokens')
  described[#described + 1] = {
    client_id,
    redis.call('HGETALL', prefix .. 'client:' .. client_id),
    redis.call('ZCOUNT', prefix .. 'client_minute:' .. client_id, now - 59999, '+inf'),
    under_way(client_id),
    tonumber(today[1] or 0) or 0,
    tonumber(today[2] or 0) or 0
  }
end
return described
