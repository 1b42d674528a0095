-- Writes a managed client, or fields of one.
--
-- KEYS 1 client     hash of the client
--      2 clients    set of the public ids of all clients
-- ARGV 1 public id
--      2 mode       'create': there must be none yet; 'change': there must be one
--      3.. field, value, field, value...
-- Returns 1, or 0 when there is one already, or none, and nothing was written
local client, clients = KEYS[1], KEYS[2]
local client_id, mode = ARGV[1], ARGV[2]

if redis.call('EXISTS', client) == (mode == 'create' and 1 or 0) then return 0 end
for i = 3, #ARGV, 2 do redis.call('HSET', client, ARGV[i], ARGV[i + 1]) end
redis.call('SADD', clients, client_id)
return 1
