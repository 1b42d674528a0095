-- The stream of events that operators look at, which keeps only the newest.
local EVENTS_LENGTH = 10000

-- Notes an event: its kind, then names and values of what is known of it. Never fails, whatever stands in the stream's place:
-- no settlement is held up by its event.
local function note_event(events, kind, ...)
  redis.pcall('XADD', events, 'MAXLEN', '~', EVENTS_LENGTH, '*', 'kind', kind, ...)
end
