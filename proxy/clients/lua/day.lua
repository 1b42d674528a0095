-- What a managed client has used on a day (UTC), for its limits: client_day, a hash of its requests and tokens, kept for two days.
-- include: calendar
local CLIENT_DAY_KEPT_MS = 2 * DAY_MS

-- The name of the hash. day: such as 20260131.
local function client_day(prefix, client, day) return prefix .. 'client_day:' .. client .. ':' .. day end
