-- Makes a managed client, changes fields of one, or rotates its secret. Checks and writes in one step, so that of two that come
-- at once the second sees what the first has written.
--
-- KEYS client       hash of the client
--      clients      set of the public ids of all clients
-- ARGV prefix       of the keys named after a client
--      client_id    its public id
--      mode         'create': there must be none yet; 'change' or 'rotate': there must be one; 'rotate' keeps the digest that
--                   the client has now as its old one
--      fields       list of field, value
-- Returns 'written'; 'exists' or 'missing', when that is not so; 'taken', when another client has the name. Then nothing is
-- written.
local exists = redis.call('EXISTS', client) == 1
if exists and mode == 'create' then return 'exists' end
if not exists and mode ~= 'create' then return 'missing' end

local function is_taken(name)
  for _, other in ipairs(redis.call('SMEMBERS', clients)) do
    if other ~= client_id and redis.call('HGET', prefix .. 'client:' .. other, 'name') == name then return true end
  end
  return false
end

for field, value in fields() do
  if field == 'name' and is_taken(value) then return 'taken' end
end
if mode == 'rotate' then redis.call('HSET', client, 'old_digest', redis.call('HGET', client, 'digest') or '') end
for field, value in fields() do redis.call('HSET', client, field, value) end
redis.call('SADD', clients, client_id)
return 'written'
