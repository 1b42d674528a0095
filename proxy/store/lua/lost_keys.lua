-- Whether something of the pool was deleted from Redis: a key of the keyset is in no place, or is not known as announced
-- or to be looked at. Looks at each key only when the numbers do not add up.
local function has_lost_keys(prefix, keyset)
  local ring, cooling, out = prefix .. 'ring', prefix .. 'resting', prefix .. 'out'
  local own, announced = redis.call('SCARD', keyset), redis.call('ZCARD', prefix .. 'announced')
  if announced < own or redis.call('ZCARD', prefix .. 'probes') < own then return true end
  if redis.call('ZCARD', ring) + redis.call('ZCARD', cooling) + redis.call('HLEN', out) >= announced then return false end
  for _, key_id in ipairs(redis.call('SMEMBERS', keyset)) do
    if not redis.call('ZSCORE', ring, key_id) and not redis.call('ZSCORE', cooling, key_id)
      and redis.call('HEXISTS', out, key_id) == 0 then return true end
  end
  return false
end
