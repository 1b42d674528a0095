-- The managed clients. Reads only.
--
-- KEYS clients      set of the public ids of all clients
-- Returns {public id...}
return redis.call('SMEMBERS', clients)
