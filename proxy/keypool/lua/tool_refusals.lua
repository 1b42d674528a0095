-- Tells which bots have refused tools lately, or notes one more. Times in epoch milliseconds.
--
-- KEYS 1 refusals   zset bot, in lower case -> time until which it is asked without tools
-- ARGV 1 bot        that has refused them, or ''
--      2 keep ms    how long that is remembered
--      3 most       bots that are remembered; those noted longest ago are forgotten first
-- Returns {bot, ms left, bot, ms left, …}, and {} when one was noted
local refusals = KEYS[1]
local bot, keep_ms, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

if bot ~= '' then
  redis.call('ZADD', refusals, now + keep_ms, bot)
  redis.call('ZREMRANGEBYSCORE', refusals, '-inf', now)
  redis.call('ZREMRANGEBYRANK', refusals, 0, -most - 1)
  redis.call('PEXPIRE', refusals, keep_ms)
  return {}
end
local told = {}
local found = redis.call('ZRANGEBYSCORE', refusals, now, '+inf', 'WITHSCORES')
for at = 1, #found, 2 do
  told[at] = found[at]
  told[at + 1] = found[at + 1] - now
end
return told
