-- Numbers on their way out of Redis and into it.

-- What Redis has under a name or field; nothing, and what is no number, counts as 0.
local function number(value) return tonumber(value or 0) or 0 end

-- A whole number as text, in all its digits.
local function plain(value) return string.format('%d', value) end
