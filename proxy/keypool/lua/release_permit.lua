-- Ends what a request holds of its client: its place among the requests at once, and the tokens reserved for it. What it has used
-- counts from now on, until the ledger has it.
--
-- KEYS 1 permits      zset permit -> epoch ms when it is void
--      2 held       hash permit -> what it holds
--      3 clock      hash of the pool's clock
-- ARGV 1 permit
--      2 tokens     that the request has used
--      3 keep ms    how long these count if the ledger never has them
--      4.. further permits of the request, which end with it
-- Returns 1 if it was held, else 0
local permits, held, clock = KEYS[1], KEYS[2], KEYS[3]
local permit, tokens, keep_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

-- include: pool_clock
-- include: clients/client_held

for i = 4, #ARGV do
  redis.call('ZREM', permits, ARGV[i])
  drop_held(held, ARGV[i])
end
local was_held = redis.call('ZREM', permits, permit)
if drop_held(held, permit) and tokens > 0 then
  local now = read_pool_clock(clock, true)
  redis.call('ZADD', permits, now + keep_ms, permit)
  redis.call('PEXPIRE', permits, keep_ms)
  redis.call('HINCRBY', held, 'ended', tokens)
  redis.call('HSET', held, permit, string.format('0 0 %d', tokens))
  redis.call('PEXPIRE', held, keep_ms)
end
return was_held
