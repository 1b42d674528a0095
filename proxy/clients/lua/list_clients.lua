-- The managed clients.
--
-- KEYS 1 clients    set of the public ids of all clients
-- Returns {public id...}
return redis.call('SMEMBERS', KEYS[1])
