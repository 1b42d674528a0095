-- The line of a managed client: client_waiting, a hash permit -> 'since until streams why', the requests that wait for a place in
-- the order of 'since'. One that does not ask again before 'until' is gone. client_held has under 'line' until when one of them may
-- ask again, so that most requests need not look. Times in epoch milliseconds of the pool's clock.
local WAITING_MS, MAX_WAITING = 2000, 32

-- Who stands before this request: how many, how many streams they want, whether one waits for tokens; beside that the length of
-- the line without it, and since when it stands there itself. state: of its client, as limits.lua reads it.
local function look_at_line(state)
  local line = {ahead = 0, streams = 0, length = 0, tokens = false}
  if not state.has_line then return line end
  local entries, others = redis.call('HGETALL', state.waiting), {}
  for i = 1, #entries, 2 do
    local permit = entries[i]
    local since, til, streams, why = string.match(entries[i + 1], '^(%d+) (%d+) (%d+) (%a+)$')
    if permit == state.permit then
      line.since = tonumber(since)
    elseif tonumber(til) <= state.now then
      redis.call('HDEL', state.waiting, permit)
    else
      others[#others + 1] = {permit, tonumber(since), tonumber(streams), why}
    end
  end
  line.length = #others
  for _, other in ipairs(others) do
    local permit, since, streams, why = unpack(other)
    if not line.since or since < line.since or (since == line.since and permit < state.permit) then
      line.ahead = line.ahead + 1
      line.streams = line.streams + streams
      line.tokens = line.tokens or why == 'tokens'
    end
  end
  return line
end

-- Has a request that was refused stand in the line, or leave it; says which in the refusal.
local function stand_in_line(state, want, line, refusal)
  if want.may_wait and refusal[8] == 1 and (line.since or line.length < MAX_WAITING) then
    local why = refusal[2] == 'streams' and 'streams' or 'tokens'
    redis.call('HSET', state.waiting, state.permit,
      string.format('%.0f %.0f %d %s', line.since or state.now, state.now + WAITING_MS, want.streams, why))
    redis.call('PEXPIRE', state.waiting, WAITING_MS)
    redis.call('HSET', state.held, 'line', plain(state.now + WAITING_MS))
    return
  end
  refusal[8] = 0
  if line.since then redis.call('HDEL', state.waiting, state.permit) end
end
