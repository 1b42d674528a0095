-- What is counted of a request that has ended, and how often.

-- Upper ends of the buckets in which times are counted, in ms; ledger/row.py has the same.
local BOUNDS_MS = {100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 120000, 300000}
-- What is counted of a client's model too.
local OF_A_CLIENTS_MODEL = {requests = true, errors = true, left = true, prompt_tokens = true, completion_tokens = true,
  reasoning_tokens = true, cached_tokens = true, cache_write_tokens = true, exact = true}

-- The name of the bucket for a time.
local function bucket(of, ms)
  for _, bound in ipairs(BOUNDS_MS) do
    if ms <= bound then return of .. bound end
  end
  return of .. 'inf'
end

local function has_failed(outcome) return outcome ~= 'answered' and outcome ~= 'client_left' end

-- Returns metric -> count, but for the tokens. first_text_ms: -1 = no text came.
local function count_request(outcome, first_text_ms, duration_ms)
  local counts = {requests = 1, duration_ms = duration_ms, [bucket('duration_le:', duration_ms)] = 1}
  if outcome == 'client_left' then counts.left = 1 end
  if has_failed(outcome) then counts.errors, counts['error:' .. outcome] = 1, 1 end
  if first_text_ms >= 0 then
    counts.first_texts, counts.first_text_ms = 1, first_text_ms
    counts[bucket('first_text_le:', first_text_ms)] = 1
  end
  return counts
end
