-- Makes a managed client, changes fields of one, or rotates its secret. Checks and writes in one step, so that of two that come
-- at once the second sees what the first has written.
--
-- KEYS 1 client     hash of the client
--      2 clients    set of the public ids of all clients
-- ARGV 1 prefix     of the keys named after a client
--      2 public id
--      3 mode       'create': there must be none yet; 'change' or 'rotate': there must be one; 'rotate' keeps the digest that
--                   the client has now as its old one
--      4.. field, value, field, value...
-- Returns 'written'; 'exists' or 'missing', when that is not so; 'taken', when another client has the name. Then nothing is
-- written.
local client, clients = KEYS[1], KEYS[2]
local prefix, client_id, mode = ARGV[1], ARGV[2], ARGV[3]
local fields = {}
for i = 4, #ARGV, 2 do fields[ARGV[i]] = ARGV[i + 1] end

local exists = redis.call('EXISTS', client) == 1
if exists and mode == 'create' then return 'exists' end
if not exists and mode ~= 'create' then return 'missing' end
if fields.name then
  for _, other in ipairs(redis.call('SMEMBERS', clients)) do
    if other ~= client_id and redis.call('HGET', prefix .. 'client:' .. other, 'name') == fields.name then return 'taken' end
  end
end

if mode == 'rotate' then redis.call('HSET', client, 'old_digest', redis.call('HGET', client, 'digest') or '') end
for i = 4, #ARGV, 2 do redis.call('HSET', client, ARGV[i], ARGV[i + 1]) end
redis.call('SADD', clients, client_id)
return 'written'
