-- How many times in a list, newest first, are later than this one; searched by halves.
local function count_later(times, at)
  local low, high = 0, redis.call('LLEN', times)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if tonumber(redis.call('LINDEX', times, middle)) > at then low = middle + 1 else high = middle end
  end
  return low
end
