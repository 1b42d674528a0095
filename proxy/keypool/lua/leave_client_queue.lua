-- Has a request leave the line of its client.
--
-- KEYS 1 waiting    hash permit -> its place in the line
-- ARGV 1 permit
-- Returns 1 if it stood there, else 0
return redis.call('HDEL', KEYS[1], ARGV[1])
