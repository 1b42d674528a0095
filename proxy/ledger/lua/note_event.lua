-- Appends one event to the stream that operators look at, which keeps only the newest.
--
-- KEYS 1 events     stream of events
-- ARGV 1.. name, value, name, value...   what is known of it, its kind first
-- Returns its id
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', 10000, '*', unpack(ARGV))
