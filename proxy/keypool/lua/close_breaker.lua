-- A bot that was being tried again has begun to answer: everybody may ask it.
--
-- KEYS bot_hash     hash of the bot's breaker
-- ARGV lease_id     of the request that tries it
-- Returns 1, or 0 when another request tries it by now

-- include: keypool/breaker
if not is_trying(bot_hash, lease_id) then return 0 end
redis.call('DEL', bot_hash)
return 1
