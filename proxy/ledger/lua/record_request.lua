-- Appends one finished request to the trail, which keeps only the newest.
--
-- KEYS 1 trail      stream of finished requests
-- ARGV 1 most       entries kept, about
--      2.. name, value, name, value...   what is known of the request
-- Returns the entry's id
local entry = {}
for i = 2, #ARGV do entry[#entry + 1] = ARGV[i] end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(entry))
