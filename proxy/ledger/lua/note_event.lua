-- Appends one event to the stream that operators look at, which keeps only the newest.
--
-- KEYS events       stream of events
-- ARGV facts        list of name, value: what is known of it, its kind first
-- Returns its id

-- include: events
local entry = {}
for name, value in facts() do entry[#entry + 1], entry[#entry + 2] = name, value end
return redis.call('XADD', events, 'MAXLEN', '~', EVENTS_LENGTH, '*', unpack(entry))
