-- Whether something of the pool was deleted from Redis. Uses the script's ring, cooling, out, keyset and prefix.
-- include: keypool/places

-- True when a key of the keyset is in no place, or is not known as announced or to be looked at. Looks at each key only when the
-- numbers do not add up.
local function has_lost_keys()
  local own, announced = redis.call('SCARD', keyset), redis.call('ZCARD', prefix .. 'announced')
  if announced < own or redis.call('ZCARD', prefix .. 'probes') < own then return true end
  if redis.call('ZCARD', ring) + redis.call('ZCARD', cooling) + redis.call('HLEN', out) >= announced then return false end
  for _, key_id in ipairs(redis.call('SMEMBERS', keyset)) do
    if is_in_no_place(key_id) then return true end
  end
  return false
end
