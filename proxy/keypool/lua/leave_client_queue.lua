-- Has a request leave the line of its client.
--
-- KEYS waiting      hash permit -> its place in the line
-- ARGV permit
-- Returns 1 if it stood there, else 0
return redis.call('HDEL', waiting, permit)
