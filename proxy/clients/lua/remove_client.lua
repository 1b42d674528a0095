-- Revokes a managed client: nothing of it stays but what the ledger has under its name.
--
-- KEYS 1 client     hash of the client
--      2 clients    set of the public ids of all clients
--      3 minute     zset of its newest requests
--      4 permits    zset of its requests under way
--      5 held       hash of what these hold
--      6 waiting    hash of its requests that wait for a place
-- ARGV 1 public id
-- Returns 1, or 0 when there was none
local client, clients, minute, permits, held, waiting = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local client_id = ARGV[1]

redis.call('DEL', minute, permits, held, waiting)
redis.call('SREM', clients, client_id)
return redis.call('DEL', client)
