-- The keys of an account: {key id...}. Uses the script's prefix.
local function keys_of(account) return redis.call('SMEMBERS', prefix .. 'account_keys:' .. account) end
