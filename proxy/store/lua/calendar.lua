-- Days and hours of UTC. Instants in epoch milliseconds, of Redis's own clock: the pool's may be ahead of the date.
local HOUR_MS, DAY_MS = 3600000, 86400000

-- The day of an instant, such as 20260131. Years begin in March here: leap days end them.
-- https://howardhinnant.github.io/date_algorithms.html#civil_from_days
local function day_of(at_ms)
  local from_march = math.floor(at_ms / DAY_MS) + 719468
  local era = math.floor(from_march / 146097)
  local of_era = from_march - era * 146097
  local leaps = math.floor(of_era / 1460) - math.floor(of_era / 36524) + math.floor(of_era / 146096)
  local year = math.floor((of_era - leaps) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  local day = of_year - math.floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  return string.format('%04d%02d%02d', year + era * 400 + (month <= 2 and 1 or 0), month, day)
end

-- The hour of an instant, such as 2026013114.
local function hour_of(at_ms)
  return day_of(at_ms) .. string.format('%02d', math.floor(at_ms / HOUR_MS) % 24)
end

-- The ms from an instant to the end of its day.
local function ms_to_midnight(at_ms) return DAY_MS - at_ms % DAY_MS end
