-- How long a cooldown lasts that nobody stated, in ms: base_ms, doubled with each fault in a row, cap_ms at most.
local function guess_ms(strikes, base_ms, cap_ms)
  return math.min(cap_ms, base_ms * 2 ^ math.min(strikes - 1, 30))
end
