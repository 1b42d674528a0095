-- The breaker of a bot, a hash: its strikes in a row; open_until_ms, until when nobody asks the bot; and the request that finds
-- out after that whether it answers again, one at a time: probing_lease and probing_until_ms.
-- include: number

-- Faults in a row that open it, and how long after its last use what is known of a bot is kept.
local BOT_STRIKES, BOT_KEPT_MS = 3, 3600000
-- One that waits for another request's answer comes back after so many ms at most.
local ANSWER_WITHIN_MS = 1000

-- Returns the ms until somebody may ask the bot, 0 = now; and whether it has failed, so that the next request tries it.
local function look_at_breaker(bot_hash, now)
  local breaker = redis.call('HMGET', bot_hash, 'open_until_ms', 'probing_until_ms')
  local open_until, probing_until = number(breaker[1]), number(breaker[2])
  if open_until > now then return open_until - now, true end
  if open_until > 0 and probing_until > now then return math.min(ANSWER_WITHIN_MS, probing_until - now), true end
  return 0, open_until > 0
end

-- Whether this lease's request is the one that finds out.
local function is_trying(bot_hash, lease_id) return redis.call('HGET', bot_hash, 'probing_lease') == lease_id end

-- A request that was to find out, and did not: the next one may.
local function stop_trying(bot_hash, lease_id)
  if is_trying(bot_hash, lease_id) then redis.call('HDEL', bot_hash, 'probing_until_ms', 'probing_lease') end
end
