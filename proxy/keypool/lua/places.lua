-- Where a key stands: in the ring when it is ready, in cooling until a time, or out until a probe or an operator brings it back.
-- Uses the script's ring, cooling, out and prefix.
-- include: keypool/ring

-- Has a key cool down until this time, epoch milliseconds, unless it is out or cools down for longer.
local function cool_until(key_id, ready_at)
  if redis.call('HEXISTS', out, key_id) == 1 then return end
  leave_ring(key_id)
  redis.call('ZADD', cooling, 'GT', plain(ready_at), key_id)
end

-- Takes a key out of the pool. state: 'parked' or 'retired'.
local function take_out(key_id, state)
  leave_ring(key_id)
  redis.call('ZREM', cooling, key_id)
  redis.call('HSET', out, key_id, state)
end

-- Whether a key is in none of the three: something was deleted.
local function is_in_no_place(key_id)
  return not redis.call('ZSCORE', ring, key_id) and not redis.call('ZSCORE', cooling, key_id)
    and redis.call('HEXISTS', out, key_id) == 0
end
