-- Takes back leases whose answers never came: their worker went on without Redis, and with other keys. A question that comes
-- after all, late, over a connection that was given up, finds that it is void.
--
-- ARGV 1 prefix     of the keys named after a lease, a key id, a bot or a client
--      2.. lease id, bot, client, permit, lease id...   client and permit of a managed client's request, or ''
-- Returns how many leases there were
local prefix = ARGV[1]
local VOID_MS = 20000 -- as long as lease_key keeps an answer

-- include: pool_clock
-- include: clients/client_held
local _, redis_now = read_pool_clock(prefix .. 'clock', true)
local found = 0

for i = 2, #ARGV, 4 do
  local lease_id, bot_hash, client, permit = ARGV[i], prefix .. 'bot:' .. ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local answer_name = prefix .. 'lease:' .. lease_id
  local answer = redis.call('GET', answer_name)
  if answer and answer ~= 'void' then
    local key_id = string.match(answer, '^(%S+) %d+ %d$') or cjson.decode(answer)[2]
    redis.call('ZREM', prefix .. 'leases:' .. key_id, lease_id)
    if redis.call('HGET', bot_hash, 'probing_lease') == lease_id then
      redis.call('HDEL', bot_hash, 'probing_until_ms', 'probing_lease')
    end
    if permit ~= '' then withdraw(prefix, client, permit, redis_now) end
    found = found + 1
  end
  redis.call('SET', answer_name, 'void', 'PX', VOID_MS)
end
return found
