-- Adds to the points that an account spent what some of its queries cost, each query once. Times in epoch milliseconds.
--
-- KEYS 1 seen       zset query id -> time it was made: the newest queries that are counted
--      2 accounts   hash key id -> account
-- ARGV 1 prefix     of the keys named after an hour or a day
--      2 account
--      3 since      queries made before are not counted, when none has been counted yet
--      4 keys       how many key ids of the account follow
--      5.. key id...; then for each query, oldest first: query id, time it was made, hour, day, bot, points
-- Returns how many queries were counted now
local seen, accounts = KEYS[1], KEYS[2]
local prefix, account, since, keys = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

-- A query may be listed later than one that was made after it, by as long as an answer may take.
local LATE_MS, SEEN_KEPT_MS = 900000, 3456000000
local HOUR_KEPT_MS, DAY_KEPT_MS = 3456000000, 34560000000
local function plain(value) return string.format('%.0f', value) end

for i = 5, 4 + keys do redis.call('HSET', accounts, ARGV[i], account) end
redis.call('PEXPIRE', accounts, plain(DAY_KEPT_MS))

local newest = redis.call('ZRANGE', seen, -1, -1, 'WITHSCORES')[2]
if newest then since = tonumber(newest) - LATE_MS end
local counted = 0
for i = 5 + keys, #ARGV, 6 do
  local query_id, made_at, hour, day, field, points = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  field = account .. '|' .. field
  if tonumber(made_at) >= since and redis.call('ZADD', seen, 'NX', made_at, query_id) == 1 then
    counted = counted + 1
    redis.call('HINCRBY', prefix .. 'points:hour:' .. hour, field, points)
    redis.call('PEXPIRE', prefix .. 'points:hour:' .. hour, plain(HOUR_KEPT_MS))
    redis.call('HINCRBY', prefix .. 'points:day:' .. day, field, points)
    redis.call('PEXPIRE', prefix .. 'points:day:' .. day, plain(DAY_KEPT_MS))
  end
end

newest = redis.call('ZRANGE', seen, -1, -1, 'WITHSCORES')[2]
if newest then
  redis.call('ZREMRANGEBYSCORE', seen, '-inf', '(' .. plain(tonumber(newest) - LATE_MS))
  redis.call('PEXPIRE', seen, plain(SEEN_KEPT_MS))
end
return counted
