-- Revokes a managed client: nothing of it stays but what the ledger has under its name.
--
-- KEYS client       hash of the client
--      clients      set of the public ids of all clients
--      minute       zset of its newest requests
--      permits      zset of its requests under way
--      held         hash of what these hold
--      waiting      hash of its requests that wait for a place
-- ARGV client_id    its public id
-- Returns 1, or 0 when there was none
redis.call('DEL', minute, permits, held, waiting)
redis.call('SREM', clients, client_id)
return redis.call('DEL', client)
