-- Everything known of some managed clients. Reads only. Times in epoch milliseconds.
--
-- KEYS clock        the pool's clock
-- ARGV prefix       of the keys named after a client
--      day          today, such as 20260131 (UTC)
--      client_ids   list of public ids
-- Returns {Redis's own time, {public id, its hash, requests in the last minute, requests under way, requests today, tokens today}...}

-- include: pool_clock
-- include: clients/day
-- include: clients/minute
local now, redis_now = read_pool_clock(clock, true)

-- Streams of the requests that have not ended, each choice one.
local function under_way(client_id)
  local permits = redis.call('ZRANGEBYSCORE', prefix .. 'client_slots:' .. client_id, '(' .. now, '+inf', 'LIMIT', 0, 1000)
  if #permits == 0 then return 0 end
  local streams = 0
  for _, held in ipairs(redis.call('HMGET', prefix .. 'client_held:' .. client_id, unpack(permits))) do
    streams = streams + number(held and string.match(held, '^%d+'))
  end
  return streams
end

local described = {redis_now}
for _, client_id in ipairs(client_ids) do
  local today = redis.call('HMGET', client_day(prefix, client_id, day), 'requests', 'tokens')
  described[#described + 1] = {
    client_id,
    redis.call('HGETALL', prefix .. 'client:' .. client_id),
    redis.call('ZCOUNT', prefix .. 'client_minute:' .. client_id, '(' .. now - MINUTE_MS, '+inf'),
    under_way(client_id),
    number(today[1]),
    number(today[2])
  }
end
return described
