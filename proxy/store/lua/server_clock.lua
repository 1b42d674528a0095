-- Redis's own clock, in epoch milliseconds. It may jump either way: right for dates, wrong for durations (pool_clock).
local function read_server_clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
