-- Adds to the models that a client has used. Times in milliseconds.
--
-- KEYS 1 models     set of the models; the empty name says that the set is complete
-- ARGV 1.. model...
-- Returns how many were new
local KEPT_MS = 3456000000
local added = redis.call('SADD', KEYS[1], unpack(ARGV))
redis.call('PEXPIRE', KEYS[1], KEPT_MS)
return added
