-- Undoes that a request was let in: it left before it had its key.
--
-- KEYS clock        hash of the pool's clock
-- ARGV prefix       of the keys named after a client
--      client       its public id
--      permit
-- Returns 1 if it was held, else 0

-- include: pool_clock
-- include: clients/withdraw
local _, redis_now = read_pool_clock(clock, true)
return withdraw(prefix, client, permit, redis_now)
