-- What requests of managed clients hold of their limits, from the first lease of each to its end, under the name of its permit:
--   client_slots    zset permit -> time it is void, epoch milliseconds
--   client_held     hash permit -> 'streams reserved ended', and under these three names the sums over all permits.
--                   reserved: tokens that the request is expected to use. ended: tokens that it has used, from its end until
--                   the ledger has them in client_day.

-- Takes what a permit holds out of the sums of the hash held. Returns whether it held anything.
local function drop_held(held, permit)
  local amounts = redis.call('HGET', held, permit)
  if not amounts then return false end
  local streams, reserved, ended = string.match(amounts, '^(%d+) (%d+) (%d+)$')
  redis.call('HDEL', held, permit)
  if streams ~= '0' then redis.call('HINCRBY', held, 'streams', -streams) end
  if reserved ~= '0' then redis.call('HINCRBY', held, 'reserved', -reserved) end
  if ended ~= '0' then redis.call('HINCRBY', held, 'ended', -ended) end
  return true
end
