-- Undoes that a request of a managed client was let in, when it has left before it had its key.
-- include: number
-- include: clients/day
-- include: clients/held
local MAX_CHOICES = 10

-- Takes a request out of its client's last minute (clients/minute). Returns how many choices it had.
local function forget_in_minute(minute, permit)
  local entries = {permit}
  for i = 2, MAX_CHOICES do entries[i] = permit .. ':' .. i end
  return redis.call('ZREM', minute, unpack(entries))
end

-- Takes the client's public id, and Redis's own time in epoch milliseconds. Returns 1 if the request was let in, else 0. What it
-- held the ledger may have freed already.
local function withdraw(prefix, client, permit, redis_now)
  redis.call('ZREM', prefix .. 'client_slots:' .. client, permit)
  drop_held(prefix .. 'client_held:' .. client, permit)
  local requests = forget_in_minute(prefix .. 'client_minute:' .. client, permit)
  local used = client_day(prefix, client, day_of(redis_now))
  if requests > 0 and number(redis.call('HGET', used, 'requests')) >= requests then
    redis.call('HINCRBY', used, 'requests', -requests)
  end
  return requests > 0 and 1 or 0
end
