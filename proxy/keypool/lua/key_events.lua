-- What happens to keys, for operators.
-- include: events

-- Notes what happened to a key. by: 'pool' or 'operator'; then names and values of what is known of it.
local function note_key_event(kind, key_id, account, by, ...)
  note_event(prefix .. 'events', kind, 'key', key_id, 'account', account, 'by', by, ...)
end
