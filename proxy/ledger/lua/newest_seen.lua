-- Looks up the newest query of an account whose points are counted. Reads only.
--
-- KEYS seen         zset query id -> epoch ms when it was made
-- Returns when it was made, in epoch milliseconds; 0 when none is counted yet

-- include: ledger/newest_query
return newest_query(seen) or 0
