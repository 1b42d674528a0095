-- Ends a lease and applies what was learned about its key. Times in epoch milliseconds.
--
-- KEYS 1 ring       zset key id -> turn of its last lease: the keys that are ready
--      2 resting    zset key id -> time it is ready again
-- ARGV 1 prefix     of the keys named after a key id or an account
--      2 lease id
--      3 key id
--      4 account
--      5 outcome    'answered', or the name of the fault
--      6 subject    who rests: 'nobody', 'key' or 'account'
--      7 stated ms  how long Poe said to wait; -1 when it did not, and the time is guessed
--      8 base ms    first guess, doubled with each fault in a row
--      9 cap ms     longest guess
--     10 keep ms    how long what is known of a key is kept after its last use
-- Returns the ms that the subject rests from now, 0 when nobody does
local ring, resting = KEYS[1], KEYS[2]
local prefix, lease_id, key_id, account, outcome, subject = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local stated_ms, base_ms, cap_ms, keep_ms = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key_hash, account_hash = prefix .. 'key:' .. key_id, prefix .. 'account:' .. account

redis.call('ZREM', prefix .. 'leases:' .. key_id, lease_id)
redis.call('HINCRBY', key_hash, outcome, 1)
redis.call('PEXPIRE', key_hash, keep_ms)

if outcome == 'answered' then
  redis.call('HDEL', key_hash, 'strikes')
  redis.call('HDEL', account_hash, 'strikes')
  return 0
end
if subject == 'nobody' then return 0 end

local hash = subject == 'key' and key_hash or account_hash
local strikes = redis.call('HINCRBY', hash, 'strikes', 1)
local rest_ms = stated_ms
if rest_ms < 0 then rest_ms = math.min(cap_ms, base_ms * 2 ^ math.min(strikes - 1, 30)) end
local ready_at = now + rest_ms

-- A shorter rest never shortens a longer one.
if ready_at > tonumber(redis.call('HGET', hash, 'ready_at_ms') or 0) then
  redis.call('HSET', hash, 'ready_at_ms', string.format('%.0f', ready_at), 'reason', outcome,
    'basis', stated_ms < 0 and 'guessed' or 'stated')
end
redis.call('PEXPIRE', hash, keep_ms)

local resters = subject == 'key' and {key_id} or redis.call('SMEMBERS', prefix .. 'account_keys:' .. account)
for _, rester in ipairs(resters) do
  local turn = redis.call('ZSCORE', ring, rester)
  if turn then
    redis.call('HSET', prefix .. 'key:' .. rester, 'turn', turn)
    redis.call('PEXPIRE', prefix .. 'key:' .. rester, keep_ms)
    redis.call('ZREM', ring, rester)
  end
  if ready_at > tonumber(redis.call('ZSCORE', resting, rester) or 0) then
    redis.call('ZADD', resting, ready_at, rester)
  end
end
return rest_ms
