-- The ring of the keys that are ready: a zset key id -> turn of its last lease. Uses the script's ring and prefix.
-- include: number
-- include: keypool/kept

-- Takes a key out of the ring, if it is there; it keeps its turn.
local function leave_ring(key_id)
  local turn = redis.call('ZSCORE', ring, key_id)
  if not turn then return end
  redis.call('HSET', prefix .. 'key:' .. key_id, 'turn', turn)
  redis.call('PEXPIRE', prefix .. 'key:' .. key_id, KEY_KEPT_MS)
  redis.call('ZREM', ring, key_id)
end

-- Puts a key into the ring, with the turn that it left it with.
local function enter_ring(key_id)
  redis.call('ZADD', ring, number(redis.call('HGET', prefix .. 'key:' .. key_id, 'turn')), key_id)
end
