
-- The settings and the dataset marker. Only gateways call this.

-- What INFO says of this server's memory, or nil: this user may not run it.
local function memory_state()
  local info = redis.pcall('INFO', 'server', 'memory', 'stats')
  if type(info) ~= 'string' then
    return nil
  end
  local limit = tonumber(string.match(info, '\nmaxmemory:(%d+)') or 0)
  local policy = string.match(info, '\nmaxmemory_policy:([%w-]+)') or 'noeviction'
  return {
    run_id = string.match(info, '\nrun_id:(%x+)') or '',
    evicted_keys = tonumber(string.match(info, '\nevicted_keys:(%d+)') or 0),
    policy = (limit > 0 and policy ~= 'noeviction') and policy or '',
  }
end

-- Whether keys were evicted since the marker was written. A server that is started counts from 0.
local function has_evicted(marker, memory)
  if marker.run_id == memory.run_id then
    return marker.evicted_keys ~= memory.evicted_keys
  end
  return memory.evicted_keys > 0
end

-- The dataset marker as it should be now. Every history that was begun since then is still there, or has expired
-- `history_ttl_ms` after its last message and no earlier. `was_in_force`: no other TTL was in force meanwhile.
local function next_marker(marker, settings, was_in_force)
  -- A user who may not run INFO repeats what another one has found.
  local memory = memory_state()
    or { run_id = marker.run_id, evicted_keys = marker.evicted_keys, policy = marker.maxmemory_policy }
  local since = marker.whole_since_ms
  if memory.policy ~= '' then
    -- A history may come and go between two calls of this.
    since = nil
  elseif not since or not was_in_force or has_evicted(marker, memory) then
    -- Also with a longer TTL: what was published under a shorter one may be gone, or go soon. The present
    -- millisecond does not count: something may have gone earlier in it.
    since = now_ms() + 1
  end
  return {
    whole_since_ms = since,
    history_ttl_ms = settings.history_ttl_ms,
    run_id = memory.run_id,
    evicted_keys = memory.evicted_keys,
    maxmemory_policy = memory.policy,
  }
end

local function marker_text(marker)
  local since = marker.whole_since_ms and string.format('%.0f', marker.whole_since_ms) or 'null'
  local whole = string.format('{"whole_since_ms":%s,"history_ttl_ms":%s,', since, marker.history_ttl_ms)
  local evicted = string.format('"run_id":"%s","evicted_keys":%.0f,', marker.run_id, marker.evicted_keys)
  return whole .. evicted .. string.format('"maxmemory_policy":"%s"}', marker.maxmemory_policy)
end

-- The marker in a text. What is not there, or no number, counts as nothing known.
local function parse_marker(text)
  local is_json, found = pcall(cjson.decode, text or '')
  found = is_json and type(found) == 'table' and found or {}
  local function word_of(value)
    return type(value) == 'string' and string.match(value, '^[%w-]+$') or ''
  end
  return {
    whole_since_ms = count_of(found.whole_since_ms),
    history_ttl_ms = count_of(found.history_ttl_ms),
    run_id = word_of(found.run_id),
    evicted_keys = count_of(found.evicted_keys) or 0,
    maxmemory_policy = word_of(found.maxmemory_policy),
  }
end

-- FCALL gateway_mark 2 <prefix>:dataset <prefix>:settings <own settings> <1 at a process' first call, else 0>
--
-- A process that is started puts its own settings into force; later calls only keep them there. Returns since
-- when the data has been whole (empty: nobody knows), the settings in force, and the policy by which Redis may
-- evict keys (empty: it evicts none).
local function mark(keys, args)
  if #keys ~= 2 or #args ~= 2 then
    return refuse('give the keys of the dataset and of the settings, the settings, and 1 or 0')
  end
  local own = parse_settings(args[1])
  if not own then
    return refuse('these are not settings')
  end
  local before = redis.call('GET', keys[2])
  local settings = args[2] ~= '1' and before and parse_settings(before) or own
  local marked = redis.call('GET', keys[1])
  local marker = parse_marker(marked)
  -- Without settings the defaults were in force.
  local was_in_force = before and marker.history_ttl_ms == tonumber(settings.history_ttl_ms)
  marker = next_marker(marker, settings, was_in_force)
  local text = marker_text(marker)
  if text ~= marked then
    redis.call('SET', keys[1], text)
  end
  if settings.text ~= before then
    redis.call('SET', keys[2], settings.text)
  end
  local since = marker.whole_since_ms and string.format('%.0f', marker.whole_since_ms) or ''
  return { since, settings.text, marker.maxmemory_policy }
end

-- The two small keys must be right also when the memory is full.
redis.register_function({ function_name = 'gateway_mark', callback = mark, flags = { 'allow-oom' } })
