-- Adds to the points that an account spent what some of its queries cost, each query once. Times in epoch milliseconds.
--
-- KEYS seen         zset query id -> time it was made: the newest queries that are counted
--      accounts     hash key id -> account
-- ARGV prefix       of the keys named after an hour or a day
--      account
--      since_ms     queries made before are not counted, when none has been counted yet
--      late_ms      a query may be listed later than one that was made after it, by as long as an answer may take
--      key_ids      list of the account's keys
--      costs        list of query_id, made_at_ms, hour, day, bot, points; oldest first
-- Returns how many queries were counted now

-- include: number
-- include: ledger/kept
-- include: ledger/newest_query
local SEEN_KEPT_MS = HOUR_KEPT_MS

for _, key_id in ipairs(key_ids) do redis.call('HSET', accounts, key_id, account) end
redis.call('PEXPIRE', accounts, plain(DAY_KEPT_MS))

local function spend(name, kept_ms, bot, points)
  redis.call('HINCRBY', name, account .. '|' .. bot, points)
  redis.call('PEXPIRE', name, plain(kept_ms))
end

local newest = newest_query(seen)
local first_ms = newest and newest - late_ms or since_ms
local counted = 0
for query_id, made_at_ms, hour, day, bot, points in costs() do
  if made_at_ms >= first_ms and redis.call('ZADD', seen, 'NX', plain(made_at_ms), query_id) == 1 then
    counted = counted + 1
    spend(prefix .. 'points:hour:' .. hour, HOUR_KEPT_MS, bot, points)
    spend(prefix .. 'points:day:' .. day, DAY_KEPT_MS, bot, points)
  end
end

newest = newest_query(seen)
if newest then
  redis.call('ZREMRANGEBYSCORE', seen, '-inf', '(' .. plain(newest - late_ms))
  redis.call('PEXPIRE', seen, plain(SEEN_KEPT_MS))
end
return counted
