-- Ends what a request holds of its client: its place among the requests at once, and the tokens reserved for it. What it has used
-- counts from now on, until the ledger has it.
--
-- KEYS permits      zset permit -> epoch ms when it is void
--      held         hash permit -> what it holds
--      clock        hash of the pool's clock
-- ARGV permit
--      tokens       that the request has used
--      keep_ms      how long these count if the ledger never has them
--      others       list of further permits of the request, which end with it
-- Returns 1 if it was held, else 0

-- include: clients/held
for _, other in ipairs(others) do
  redis.call('ZREM', permits, other)
  drop_held(held, other)
end
local was_held = redis.call('ZREM', permits, permit)
if drop_held(held, permit) and tokens > 0 then
  -- include: pool_clock
  redis.call('ZADD', permits, plain(read_pool_clock(clock, true) + keep_ms), permit)
  redis.call('PEXPIRE', permits, keep_ms)
  redis.call('HINCRBY', held, 'ended', tokens)
  redis.call('HSET', held, permit, string.format('0 0 %d', tokens))
  redis.call('PEXPIRE', held, keep_ms)
end
return was_held
