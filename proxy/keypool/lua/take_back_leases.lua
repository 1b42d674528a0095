-- Takes back leases whose replies never came: their worker went on without Redis, and with other keys. A question that comes
-- after all, late, over a connection that was given up, finds that it is void.
--
-- KEYS clock        hash of the pool's clock
-- ARGV prefix       of the keys named after a lease, a key id, a bot or a client
--      leases       list of lease_id, bot, client, permit: the last two of a managed client's request, or ''
-- Returns how many leases there were

-- include: pool_clock
-- include: clients/withdraw
-- include: keypool/kept_lease
-- include: keypool/breaker
local _, redis_now = read_pool_clock(clock, true)
local found = 0

for lease_id, bot, client, permit in leases() do
  local lease_name = prefix .. 'lease:' .. lease_id
  local kept = redis.call('GET', lease_name)
  if kept and kept ~= VOID then
    redis.call('ZREM', prefix .. 'leases:' .. read_kept_lease(kept)[2], lease_id)
    stop_trying(prefix .. 'bot:' .. bot, lease_id)
    if permit ~= '' then withdraw(prefix, client, permit, redis_now) end
    found = found + 1
  end
  redis.call('SET', lease_name, VOID, 'PX', REPEATED_WITHIN_MS)
end
return found
