-- What requests of managed clients hold of their limits. Times in epoch milliseconds.
--
-- A request holds things from its first lease to its end, under the name of its permit:
--   client_slots    zset permit -> time it is void
--   client_held     hash permit -> 'streams reserved ended', and under these three names the sums over all permits.
--                   reserved: tokens that the request is expected to use. ended: tokens that it has used, from its end until
--                   the ledger has them in client_day.
local DAY_MS = 86400000

local function count_of(value) return tonumber(value or 0) or 0 end

-- 20260131 for the number of a day since 1970 (https://howardhinnant.github.io/date_algorithms.html#civil_from_days).
local function day_name(days)
  local from_march = days + 719468
  local era = math.floor(from_march / 146097)
  local of_era = from_march - era * 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  local day = of_year - math.floor((153 * month + 2) / 5) + 1
  year, month = year + era * 400, month < 10 and month + 3 or month - 9
  if month <= 2 then year = year + 1 end
  return string.format('%04d%02d%02d', year, month, day)
end

-- Takes what a permit holds out of the sums. Returns whether it held anything.
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

-- Undoes that a request was let in. Returns 1 if it was, else 0. What it held the ledger may have freed already.
local function withdraw(prefix, client, permit, redis_now)
  redis.call('ZREM', prefix .. 'client_slots:' .. client, permit)
  drop_held(prefix .. 'client_held:' .. client, permit)
  local entries = {permit}
  for i = 2, 10 do entries[i] = permit .. ':' .. i end
  local requests = redis.call('ZREM', prefix .. 'client_minute:' .. client, unpack(entries))
  local day = prefix .. 'client_day:' .. client .. ':' .. day_name(math.floor(redis_now / DAY_MS))
  if requests > 0 and count_of(redis.call('HGET', day, 'requests')) >= requests then
    redis.call('HINCRBY', day, 'requests', -requests)
  end
  return requests > 0 and 1 or 0
end
