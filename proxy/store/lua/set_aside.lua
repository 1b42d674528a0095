-- Gives keys that hold another type than ours another name, so that they count as missing.
--
-- KEYS anchor     any key of ours: says which node of a cluster
-- ARGV prefix     of the names that they are kept under
--      kept_ms    how long
--      meant      list of name, kind: the type that is meant to be under each name
-- Returns {name, type that stood there, name...} of those that were set aside
local moved = {}
for name, kind in meant() do
  local found = redis.call('TYPE', name).ok
  if found ~= 'none' and found ~= kind then
    redis.call('RENAME', name, prefix .. name)
    redis.call('PEXPIRE', prefix .. name, kept_ms)
    moved[#moved + 1], moved[#moved + 2] = name, found
  end
end
return moved
