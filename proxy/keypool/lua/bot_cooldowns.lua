-- Cooldowns of keys and accounts for one bot, a hash: account or key id -> 'ready-at strikes outcome'. Times in epoch milliseconds.
-- include: number

-- Returns until when an entry lasts, its strikes in a row, and the outcome that began it; 0, 0, '' for none.
local function read_bot_cooldown(entry)
  local ready_at, strikes, outcome = string.match(entry or '', '^(%d+) (%d+) (.*)$')
  return number(ready_at), number(strikes), outcome or ''
end

-- The longest cooldown of a key and its account for the bot that goes on after now: until when it lasts, and its outcome; 0, nil
-- when there is none.
local function longest_bot_cooldown(bot_cooldowns, key_id, account, now)
  local latest, why = 0, nil
  for _, entry in ipairs(redis.call('HMGET', bot_cooldowns, account, key_id)) do
    local ready_at, _, outcome = read_bot_cooldown(entry)
    if ready_at > math.max(latest, now) then latest, why = ready_at, outcome end
  end
  return latest, why
end
