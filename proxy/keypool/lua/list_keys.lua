-- The keys that somebody has announced.
--
-- KEYS 1 announced  zset key id -> time of its last announcement
-- Returns {key id...}
return redis.call('ZRANGE', KEYS[1], 0, 9999)
