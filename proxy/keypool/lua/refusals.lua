-- Tells which bots have refused something lately, or notes one more. Times in epoch milliseconds.
--
-- KEYS refusals     zset bot, in lower case -> time until which it is asked without that
-- ARGV bot          that has refused it, or ''
--      keep_ms      how long that is remembered
--      most         bots that are remembered; those noted longest ago are forgotten first
-- Returns {bot, ms left, bot, ms left, …}, and {} when one was noted

-- include: server_clock
local now = read_server_clock()

if bot ~= '' then
  redis.call('ZADD', refusals, now + keep_ms, bot)
  redis.call('ZREMRANGEBYSCORE', refusals, '-inf', now)
  redis.call('ZREMRANGEBYRANK', refusals, 0, -most - 1)
  redis.call('PEXPIRE', refusals, keep_ms)
  return {}
end
local remembered = redis.call('ZRANGEBYSCORE', refusals, now, '+inf', 'WITHSCORES')
for i = 2, #remembered, 2 do remembered[i] = remembered[i] - now end
return remembered
