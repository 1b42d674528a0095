-- Takes finished requests into the ledger: counts them by hour and day (UTC), appends them to the trail, and frees what
-- their clients hold. Times in epoch milliseconds. A request counts in the hour in which it ended.
--
-- KEYS 1 trail      stream of the newest requests
--      2 failures   stream of the newest requests that failed
-- ARGV 1 prefix     of the keys named after a worker, a client, an hour or a day
--      2 worker     who tells
--      3 newest     number of the last request in this call
--      4.. of each request, by number: number among the worker's own (one that was recorded is not recorded again),
--          age ms, request id, client, client id or '', permit or '', requests of the client that Redis has not counted yet,
--          model, key id or '', stream ('true' or 'false'),
--          status, outcome, first text ms or '', duration ms, prompt tokens, completion tokens, reasoning tokens,
--          why (JSON); what to count it under: client, model, key id or ''; how many keys failed before; their ids
-- Returns how many writes failed because something else stands in their place
local trail, failures = KEYS[1], KEYS[2]
local prefix, worker, newest = ARGV[1], ARGV[2], tonumber(ARGV[3])

local HOUR_KEPT_MS, DAY_KEPT_MS, CLIENT_DAY_KEPT_MS, WORKER_KEPT_MS = 3456000000, 34560000000, 172800000, 86400000
local CLIENT_MODELS_KEPT_MS = 3456000000
local TRAIL_LENGTH, FAILURES_LENGTH, LATE_MS = 10000, 2000, 1000
local BOUNDS_MS = {100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 120000, 300000}
local OF_A_CLIENTS_MODEL = {requests = true, errors = true, left = true, prompt_tokens = true, completion_tokens = true,
  reasoning_tokens = true}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- The first write is not to be forgiven: a Redis that takes none is told again later.
local recorded = prefix .. 'recorded:' .. worker
local last = tonumber(redis.call('GET', recorded) or 0)
if last >= newest then return 0 end
redis.call('SET', recorded, ARGV[3], 'PX', WORKER_KEPT_MS)

local faults, periods, models_of = 0, {}, {}
local function is_fault(reply)
  local failed = type(reply) == 'table' and reply.err
  if failed then faults = faults + 1 end
  return failed
end

-- The calendar day that is so many days after 1970 began, as 20261120. Years begin in March here: leap days end them.
local function date_of(days)
  local shifted = days + 719468
  local era = math.floor(shifted / 146097)
  local of_era = shifted - era * 146097
  local leaps = math.floor(of_era / 1460) - math.floor(of_era / 36524) + math.floor(of_era / 146096)
  local year = math.floor((of_era - leaps) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  local day = of_year - math.floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  return string.format('%04d%02d%02d', year + era * 400 + (month <= 2 and 1 or 0), month, day)
end

-- Everything is added up first and written at the end: most requests of a call count in the same fields of the same hour.
local function period_of(hours)
  if not periods[hours] then
    local day = date_of(math.floor(hours / 24))
    periods[hours] = {day = day, hour = day .. string.format('%02d', hours % 24),
      sums = {all = {}, client = {}, model = {}, key = {}, client_model = {}}}
  end
  return periods[hours]
end

local function add(fields, field, by) fields[field] = (fields[field] or 0) + by end

local function bucket(of, ms)
  for _, bound in ipairs(BOUNDS_MS) do
    if ms <= bound then return of .. bound end
  end
  return of .. 'inf'
end

-- A request that has ended holds nothing any more; what it has used counts in its client's day from now on.
local function free(client_id, permit)
  is_fault(redis.pcall('ZREM', prefix .. 'client_slots:' .. client_id, permit))
  local held = prefix .. 'client_held:' .. client_id
  local amounts = redis.pcall('HGET', held, permit)
  if is_fault(amounts) or not amounts then return end
  local names = {'streams', 'reserved', 'ended'}
  for i, amount in ipairs({string.match(amounts, '^(%d+) (%d+) (%d+)$')}) do
    if amount ~= '0' then is_fault(redis.pcall('HINCRBY', held, names[i], -amount)) end
  end
  redis.pcall('HDEL', held, permit)
end

local at = 3
local function take()
  at = at + 1
  return ARGV[at]
end

while at < #ARGV do
  local number, age_ms, request_id, client, client_id, permit = tonumber(take()), tonumber(take()), take(), take(), take(), take()
  local uncounted = tonumber(take())
  local model, key_id, stream, status, outcome, first_text = take(), take(), take(), take(), take(), take()
  local duration, prompt, completion, reasoning, why = take(), take(), take(), take(), take()
  local counted_client, counted_model, counted_key, failed = take(), take(), take(), {}
  for i = 1, tonumber(take()) do failed[i] = take() end

  if number > last then
    local period = period_of(math.floor((now - age_ms) / 3600000))
    local has_failed = outcome ~= 'answered' and outcome ~= 'client_left'

    local counts = {requests = 1, duration_ms = tonumber(duration), prompt_tokens = tonumber(prompt),
      completion_tokens = tonumber(completion), reasoning_tokens = tonumber(reasoning),
      [bucket('duration_le:', tonumber(duration))] = 1}
    if outcome == 'client_left' then counts.left = 1 end
    if has_failed then counts.errors, counts['error:' .. outcome] = 1, 1 end
    if first_text ~= '' then
      counts.first_texts, counts.first_text_ms = 1, tonumber(first_text)
      counts[bucket('first_text_le:', tonumber(first_text))] = 1
    end

    models_of[counted_client] = models_of[counted_client] or {}
    models_of[counted_client][counted_model] = true
    local sums = period.sums
    for metric, by in pairs(counts) do
      if by ~= 0 then
        add(sums.all, metric, by)
        add(sums.client, counted_client .. '|' .. metric, by)
        add(sums.model, counted_model .. '|' .. metric, by)
        if counted_key ~= '' then add(sums.key, counted_key .. '|' .. metric, by) end
        if OF_A_CLIENTS_MODEL[metric] then
          add(sums.client_model, counted_client .. '|' .. counted_model .. '|' .. metric, by)
        end
      end
    end
    for _, failed_key in ipairs(failed) do
      add(sums.key, failed_key .. '|failovers', 1)
      add(sums.all, 'failovers', 1)
    end

    if permit ~= '' then free(client_id, permit) end
    local tokens = tonumber(prompt) + tonumber(completion)
    if client_id ~= '' and tokens + uncounted > 0 then
      local client_day = prefix .. 'client_day:' .. client_id .. ':' .. period.day
      if tokens > 0 then is_fault(redis.pcall('HINCRBY', client_day, 'tokens', tokens)) end
      if uncounted > 0 then is_fault(redis.pcall('HINCRBY', client_day, 'requests', uncounted)) end
      redis.call('PEXPIRE', client_day, CLIENT_DAY_KEPT_MS)
    end

    local told = {'request_id', request_id, 'client', client, 'model', model, 'stream', stream, 'status', status,
      'outcome', outcome, 'duration_ms', duration, 'prompt_tokens', prompt, 'completion_tokens', completion,
      'reasoning_tokens', reasoning}
    local function tell(field, value)
      if value ~= '' then told[#told + 1], told[#told + 2] = field, value end
    end
    tell('first_text_ms', first_text)
    tell('client_id', client_id)
    tell('key', key_id)
    tell('late_ms', age_ms >= LATE_MS and age_ms or '')
    tell('why', why)
    is_fault(redis.pcall('XADD', trail, 'MAXLEN', '~', TRAIL_LENGTH, '*', unpack(told)))
    if has_failed then is_fault(redis.pcall('XADD', failures, 'MAXLEN', '~', FAILURES_LENGTH, '*', unpack(told))) end
  end
end

-- One read and one write a hash, since a command for each field takes longer. Its time to live begins with it, and anew
-- whenever a field is new.
local function write(name, keep_ms, fields)
  local names, told = {}, {}
  for field in pairs(fields) do names[#names + 1] = field end
  if #names == 0 then return end
  local before = redis.pcall('HMGET', name, unpack(names))
  if is_fault(before) then return end
  for i, field in ipairs(names) do
    told[2 * i - 1], told[2 * i] = field, string.format('%d', (before[i] or 0) + fields[field])
  end
  if redis.call('HSET', name, unpack(told)) > 0 then redis.call('PEXPIRE', name, keep_ms) end
end

for client, models in pairs(models_of) do
  local name, names = prefix .. 'client_models:' .. client, {}
  for model in pairs(models) do names[#names + 1] = model end
  if not is_fault(redis.pcall('SADD', name, unpack(names))) then redis.call('PEXPIRE', name, CLIENT_MODELS_KEPT_MS) end
end

for _, period in pairs(periods) do
  for dimension, fields in pairs(period.sums) do
    write(prefix .. 'usage:hour:' .. period.hour .. ':' .. dimension, HOUR_KEPT_MS, fields)
    write(prefix .. 'usage:day:' .. period.day .. ':' .. dimension, DAY_KEPT_MS, fields)
  end
end
return faults
