-- Ends what a request holds among its client's requests at once.
--
-- KEYS 1 slots      zset slot -> epoch ms when it is void
-- ARGV 1 slot
-- Returns 1 if it was held, else 0
local slots, slot = KEYS[1], ARGV[1]
return redis.call('ZREM', slots, slot)
