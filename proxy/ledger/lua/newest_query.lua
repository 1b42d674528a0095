-- When the newest query of a zset query id -> epoch ms was made; nil when there is none.
local function newest_query(seen)
  return tonumber(redis.call('ZRANGE', seen, -1, -1, 'WITHSCORES')[2])
end
