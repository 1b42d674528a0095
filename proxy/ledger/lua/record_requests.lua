-- Takes finished requests into the ledger: counts them by hour and day (UTC), appends them to the trail, and frees what
-- their clients hold. Times in epoch milliseconds. A request counts in the hour in which it ended.
--
-- KEYS trail        stream of the newest requests
--      failures     stream of the newest requests that failed
-- ARGV prefix       of the keys named after a worker, a client, an hour or a day
--      worker       who tells
--      newest       number of the last request in this call
--      requests     list of
--                     sequence          number among the worker's own: one that was recorded is not recorded again
--                     age_ms            since it ended
--                     request_id, client
--                     client_id         of a managed client, or ''
--                     permit            or ''
--                     uncounted         requests of the client that Redis has not counted yet
--                     model
--                     key_id            or ''
--                     stream            'true' or 'false'
--                     status, outcome
--                     first_text_ms     -1 = no text came
--                     duration_ms, prompt_tokens, completion_tokens, reasoning_tokens
--                     cached_tokens, cache_write_tokens    of the prompt
--                     exact             1 = the tokens are as Poe reported them
--                     why               JSON
--                     counted_client, counted_model, counted_key    names to count it under; the key's may be ''
--                     failed_over       ids of the keys that failed before, with blanks between them
-- Returns how many writes failed because something else stands in their place

-- include: server_clock
-- include: numbered
-- include: clients/day
-- include: clients/held
-- include: ledger/kept
-- include: ledger/usage_counts
local TRAIL_LENGTH, FAILURES_LENGTH, LATE_MS = 10000, 2000, 1000
local now = read_server_clock()

-- The first write is not to be forgiven: a Redis that takes none is told again later.
local recorded = prefix .. 'recorded:' .. worker
local last = tonumber(redis.call('GET', recorded) or 0)
if last >= newest then return 0 end
redis.call('SET', recorded, newest, 'PX', NUMBER_KEPT_MS)

local faults = 0
local function is_fault(reply)
  local failed = type(reply) == 'table' and reply.err
  if failed then faults = faults + 1 end
  return failed
end

-- Everything is added up first and written at the end: most requests of a call count in the same fields of the same hour.
local periods, models_of = {}, {}
local function period_of(at_ms)
  local hours = math.floor(at_ms / HOUR_MS)
  periods[hours] = periods[hours] or {day = day_of(at_ms), hour = hour_of(at_ms),
    sums = {all = {}, client = {}, model = {}, key = {}, client_model = {}}}
  return periods[hours]
end

local function add(fields, field, by) fields[field] = (fields[field] or 0) + by end

-- A request that has ended holds nothing any more; what it has used counts in its client's day from now on.
local function free(client_id, permit)
  is_fault(redis.pcall('ZREM', prefix .. 'client_slots:' .. client_id, permit))
  if not pcall(drop_held, prefix .. 'client_held:' .. client_id, permit) then faults = faults + 1 end
end

local function count_for_limits(client_id, day, tokens, requests)
  if tokens + requests == 0 then return end
  local used = client_day(prefix, client_id, day)
  if tokens > 0 then is_fault(redis.pcall('HINCRBY', used, 'tokens', tokens)) end
  if requests > 0 then is_fault(redis.pcall('HINCRBY', used, 'requests', requests)) end
  redis.call('PEXPIRE', used, CLIENT_DAY_KEPT_MS)
end

local function append(stream, length, entry)
  is_fault(redis.pcall('XADD', stream, 'MAXLEN', '~', length, '*', unpack(entry)))
end

for sequence, age_ms, request_id, client, client_id, permit, uncounted, model, key_id, stream, status, outcome, first_text_ms,
  duration_ms, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, exact, why,
  counted_client, counted_model, counted_key, failed_over
in requests() do
  if sequence > last then
    local period = period_of(now - age_ms)
    local counts, sums = count_request(outcome, first_text_ms, duration_ms), period.sums
    counts.prompt_tokens, counts.completion_tokens, counts.reasoning_tokens = prompt_tokens, completion_tokens, reasoning_tokens
    counts.cached_tokens, counts.cache_write_tokens, counts.exact = cached_tokens, cache_write_tokens, exact
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
    for failed_key in string.gmatch(failed_over, '%S+') do
      add(sums.key, failed_key .. '|failovers', 1)
      add(sums.all, 'failovers', 1)
    end
    models_of[counted_client] = models_of[counted_client] or {}
    models_of[counted_client][counted_model] = true

    if permit ~= '' then free(client_id, permit) end
    if client_id ~= '' then count_for_limits(client_id, period.day, prompt_tokens + completion_tokens, uncounted) end

    local entry = {'request_id', request_id, 'client', client, 'model', model, 'stream', stream, 'status', status,
      'outcome', outcome, 'duration_ms', duration_ms, 'prompt_tokens', prompt_tokens, 'completion_tokens', completion_tokens,
      'reasoning_tokens', reasoning_tokens}
    local function say(is_known, field, value)
      if is_known then entry[#entry + 1], entry[#entry + 2] = field, value end
    end
    say(first_text_ms >= 0, 'first_text_ms', first_text_ms)
    say(client_id ~= '', 'client_id', client_id)
    say(cached_tokens > 0, 'cached_tokens', cached_tokens)
    say(cache_write_tokens > 0, 'cache_write_tokens', cache_write_tokens)
    say(exact > 0, 'exact', 'true')
    say(key_id ~= '', 'key', key_id)
    say(age_ms >= LATE_MS, 'late_ms', age_ms)
    say(why ~= '', 'why', why)
    append(trail, TRAIL_LENGTH, entry)
    if has_failed(outcome) then append(failures, FAILURES_LENGTH, entry) end
  end
end

-- One read and one write a hash, since a command for each field takes longer. Its time to live begins with it, and anew
-- whenever a field is new.
local function write(name, kept_ms, fields)
  local names, entry = {}, {}
  for field in pairs(fields) do names[#names + 1] = field end
  if #names == 0 then return end
  local before = redis.pcall('HMGET', name, unpack(names))
  if is_fault(before) then return end
  for i, field in ipairs(names) do
    entry[2 * i - 1], entry[2 * i] = field, string.format('%d', (before[i] or 0) + fields[field])
  end
  if redis.call('HSET', name, unpack(entry)) > 0 then redis.call('PEXPIRE', name, kept_ms) end
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
