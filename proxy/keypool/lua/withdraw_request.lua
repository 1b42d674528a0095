-- Undoes that a request was let in: it left before it had its key.
--
-- KEYS 1 clock      hash of the pool's clock
-- ARGV 1 prefix     of the keys named after a client
--      2 client     its public id
--      3 permit
-- Returns 1 if it was held, else 0
local clock, prefix, client, permit = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

-- include: pool_clock
-- include: clients/client_held
local _, redis_now = read_pool_clock(clock, true)
return withdraw(prefix, client, permit, redis_now)
