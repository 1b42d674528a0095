-- The keys that somebody has announced. Reads only.
--
-- KEYS announced    zset key id -> time of its last announcement
-- Returns {key id...}
return redis.call('ZRANGE', announced, 0, 9999)
