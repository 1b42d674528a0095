-- Looks up the newest query of an account whose points are counted.
--
-- KEYS 1 seen       zset query id -> epoch ms when it was made
-- Returns when it was made, in epoch milliseconds; 0 when none is counted yet
local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
return tonumber(newest[2] or 0)
