-- Gives keys that hold another type than ours another name, so that they count as missing. Times in milliseconds.
--
-- KEYS 1.. name...
-- ARGV 1 prefix     of the names that they are kept under
--      2 kept ms    how long
--      3.. type that is meant to be under each name, in order
-- Returns {name, type that stood there, name...} of those that were set aside
local prefix, kept_ms = ARGV[1], ARGV[2]
local moved = {}
for i, name in ipairs(KEYS) do
  local kind = redis.call('TYPE', name).ok
  if kind ~= 'none' and kind ~= ARGV[i + 2] then
    redis.call('RENAME', name, prefix .. name)
    redis.call('PEXPIRE', prefix .. name, kept_ms)
    moved[#moved + 1], moved[#moved + 2] = name, kind
  end
end
return moved
