-- Adds to the models that a client has used.
--
-- KEYS used         set of the models; the empty name says that the set is complete
-- ARGV models       list
-- Returns how many were new

-- include: ledger/kept
local added = redis.call('SADD', used, unpack(models))
redis.call('PEXPIRE', used, CLIENT_MODELS_KEPT_MS)
return added
