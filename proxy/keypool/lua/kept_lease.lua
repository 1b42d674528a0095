-- The reply to the question for a lease, kept under the lease's name: as 'key turn tries-bot session', which is quicker than JSON, when it
-- is of nothing but a key; as JSON; or 'void', once the lease was taken back.
-- include: keypool/repeats
local VOID, NO_ROOM = 'void', {0, 0, 0, 0, 0, 0, -1}

-- Keeps a reply of lease_key. is_plain: no key was skipped, and nobody's limits count.
local function keep_lease(name, leased, is_plain)
  local text = is_plain and string.format('%s %d %d %s', leased[2], leased[3], leased[5], leased[7]) or cjson.encode(leased)
  redis.call('SET', name, text, 'PX', REPEATED_WITHIN_MS)
end

-- The reply of lease_key that a text other than 'void' stands for.
local function read_kept_lease(text)
  local key_id, turn, tries_bot, session = string.match(text, '^(%S+) (%d+) (%d) (%l*)$')
  return key_id and {'leased', key_id, tonumber(turn), {}, tonumber(tries_bot), NO_ROOM, session} or cjson.decode(text)
end
