-- A bot that was being tried again has begun to answer: everybody may ask it.
--
-- KEYS 1 bot        hash of the bot's breaker
-- ARGV 1 lease id   of the request that tries it
-- Returns 1, or 0 when another request tries it by now
if redis.call('HGET', KEYS[1], 'probing_lease') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
