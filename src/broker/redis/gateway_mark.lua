
-- Maintains the settings and the dataset marker. Only gateways call this.

-- The memory state from INFO; nil if this user may not run INFO.
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

-- Whether keys were evicted since the marker was written. A started server counts from 0.
local function has_evicted(marker, memory)
  if marker.run_id == memory.run_id then
    return marker.evicted_keys ~= memory.evicted_keys
  end
  return memory.evicted_keys > 0
end

-- TTLs by namespace as JSON, in the order of the names; empty if there are none.
local function ttls_text(ttls)
  local names, parts = {}, {}
  for name in pairs(ttls) do
    names[#names + 1] = name
  end
  table.sort(names)
  for at, name in ipairs(names) do
    parts[at] = string.format('"%s":%.0f', name, ttls[name])
  end
  return #parts > 0 and '{' .. table.concat(parts, ',') .. '}' or ''
end

-- The TTLs for the marker: the shortest of all, and as text those of `default`, of `online`, and of each namespace that
-- differs from `default`. The text is empty if all are the same. An older gateway compares only the shortest with the
-- TTL that it applies to every namespace. So it claims nothing if any TTL is shorter.
local function ttls_of(settings)
  local broker, namespaces = tonumber(settings.history_ttl_ms), settings.namespaces or {}
  local default = tonumber((namespaces.default or settings).history_ttl_ms)
  local ttls, shortest, differ = { default = default, online = broker }, math.min(broker, default), broker ~= default
  for name, options in pairs(namespaces) do
    local ttl = tonumber(options.history_ttl_ms)
    if ttl ~= default and name ~= 'online' and string.match(name, '^[%w_-]+$') then
      ttls[name], shortest, differ = ttl, math.min(shortest, ttl), true
    end
  end
  return shortest, differ and ttls_text(ttls) or ''
end

-- The current dataset marker. Every history that began after `whole_since_ms` is still there, or expired after the TTL
-- of its namespace and not earlier. `was_in_force`: no TTL in force changed since the last marker. `memory`: nil if this
-- user may not run INFO.
local function next_marker(marker, ttl, ttls, was_in_force, memory)
  -- Without INFO, the values that another user has written stay.
  memory = memory
    or { run_id = marker.run_id, evicted_keys = marker.evicted_keys, policy = marker.maxmemory_policy }
  local since = marker.whole_since_ms
  if memory.policy ~= '' then
    -- A history may be created and evicted between two calls.
    since = nil
  elseif not since or not was_in_force or has_evicted(marker, memory) then
    -- Also with a longer TTL: histories that were written under a shorter one may have expired, or expire soon. The
    -- current millisecond does not count, because a history may have been removed earlier in it.
    since = now_ms() + 1
  end
  return {
    whole_since_ms = since,
    history_ttl_ms = ttl,
    history_ttls = ttls,
    run_id = memory.run_id,
    evicted_keys = memory.evicted_keys,
    maxmemory_policy = memory.policy,
  }
end

local function marker_text(marker)
  local since = marker.whole_since_ms and string.format('%.0f', marker.whole_since_ms) or 'null'
  local whole = string.format('{"whole_since_ms":%s,"history_ttl_ms":%.0f,', since, marker.history_ttl_ms)
  if marker.history_ttls ~= '' then
    whole = whole .. '"history_ttls_ms":' .. marker.history_ttls .. ','
  end
  local evicted = string.format('"run_id":"%s","evicted_keys":%.0f,', marker.run_id, marker.evicted_keys)
  return whole .. evicted .. string.format('"maxmemory_policy":"%s"}', marker.maxmemory_policy)
end

-- Parses a marker. A missing or invalid field is not known.
local function parse_marker(text)
  local is_json, found = pcall(cjson.decode, text or '')
  found = is_json and type(found) == 'table' and found or {}
  local function word_of(value)
    return type(value) == 'string' and string.match(value, '^[%w-]+$') or ''
  end
  local ttls = {}
  for name, ttl in pairs(type(found.history_ttls_ms) == 'table' and found.history_ttls_ms or {}) do
    ttls[name] = count_of(ttl)
  end
  return {
    whole_since_ms = count_of(found.whole_since_ms),
    history_ttl_ms = count_of(found.history_ttl_ms),
    history_ttls = ttls_text(ttls),
    run_id = word_of(found.run_id),
    evicted_keys = count_of(found.evicted_keys) or 0,
    maxmemory_policy = word_of(found.maxmemory_policy),
  }
end

-- The marker that follows `marked`, as an object and as text. `before`: the settings that were in force, as text.
local function follow_marker(marked, before, settings, memory)
  local marker = parse_marker(marked)
  local ttl, ttls = ttls_of(settings)
  -- Without settings the defaults were in force.
  local was_in_force = before and marker.history_ttl_ms == ttl and marker.history_ttls == ttls
  marker = next_marker(marker, ttl, ttls, was_in_force, memory)
  return marker, marker_text(marker)
end

local function since_text(marker)
  return marker.whole_since_ms and string.format('%.0f', marker.whole_since_ms) or ''
end

local function mark_all(keys, own, is_first)
  local before = redis.call('GET', keys[2])
  local settings = not is_first and before and parse_settings(before) or own
  local marked = redis.call('GET', keys[1])
  local marker, text = follow_marker(marked, before, settings, memory_state())
  if text ~= marked then
    redis.call('SET', keys[1], text)
  end
  if settings.text ~= before then
    redis.call('SET', keys[2], settings.text)
  end
  return { since_text(marker), settings.text, marker.maxmemory_policy }
end

-- The most slots of one call, because it blocks Redis until it has marked them.
local MAX_SLOTS = 256

-- The text at a key; false if there is none, and nil if the key's slot is elsewhere or is being moved.
local function text_in_slot(key)
  local text = redis.pcall('GET', key)
  if type(text) ~= 'table' then
    return text
  elseif string.find(text.err, 'WRONGTYPE', 1, true) then
    return ''
  end
end

-- Marks one slot. Returns the marker and the settings in force; nothing if the slot is elsewhere or is being moved. `call` has
-- what was computed for other slots of this call: nearly always all slots have the same texts.
local function mark_slot(prefix, tag, own, is_first, call)
  local marker_key, settings_key = prefix .. ':dataset:{' .. tag .. '}', prefix .. ':settings:{' .. tag .. '}'
  local marked, before = text_in_slot(marker_key), text_in_slot(settings_key)
  if marked == nil or before == nil then
    return nil
  end
  local settings = own
  if not is_first then
    settings = before and (call.parsed[before] or parse_settings(before)) or known_settings[prefix] or own
    call.parsed[settings.text] = settings
  end
  local texts = (marked or '') .. '\n' .. (before or '')
  local known = call.markers[texts]
  if not known then
    local marker, text = follow_marker(marked or nil, before, settings, call.memory)
    known = { marker = marker, text = text }
    call.markers[texts] = known
  end
  if known.text ~= marked then
    redis.call('SET', marker_key, known.text)
  end
  if settings.text ~= before then
    redis.call('SET', settings_key, settings.text)
  end
  remember_settings(prefix, settings)
  return known.marker, settings
end

-- The right that this user lacks to mark slots, as an error.
local function missing_mark_right(prefix, tag)
  for _, name in ipairs({ 'dataset', 'settings' }) do
    local key = prefix .. ':' .. name .. ':{' .. tag .. '}'
    for _, right in ipairs({ { 'GET', key }, { 'SET', key, '1' } }) do
      if not redis.acl_check_cmd(unpack(right)) then
        return redis.error_reply('NOPERM gateway: this user may not run ' .. right[1] .. ' on ' .. key)
      end
    end
  end
end

local function mark_slots(args, own, is_first)
  local prefix, call = args[3], { memory = memory_state(), parsed = {}, markers = {} }
  local missing = missing_mark_right(prefix, args[4])
  if missing then
    return missing
  end
  local latest, in_force, skipped = nil, nil, {}
  for at = 4, #args do
    local marker, settings = mark_slot(prefix, args[at], own, is_first, call)
    if not marker then
      skipped[#skipped + 1] = args[at]
    else
      local since = marker.whole_since_ms or math.huge
      if not latest or since > (latest.whole_since_ms or math.huge) then
        latest = marker
      end
      if not in_force or in_force.text == own.text then
        in_force = settings
      end
    end
  end
  if not latest then
    return { '', own.text, '', skipped }
  end
  return { since_text(latest), in_force.text, latest.maxmemory_policy, skipped }
end

-- FCALL gateway_mark 2 <prefix>:dataset <prefix>:settings <own settings> <1 at a process' first call, otherwise 0>
-- FCALL gateway_mark 0 <own settings> <1 or 0> <prefix> <tag of a slot> …
--
-- The first call of a process puts its own settings into force; later calls keep the settings in force. Returns since
-- when the data has been whole (empty: not known), the settings in force, and the policy by which Redis may evict keys
-- (empty: it evicts none).
--
-- The second form is for a prefix whose channels are spread over the slots of a cluster. It marks these slots of this
-- server, and also returns the tags of those that it could not mark, because they are elsewhere or are being moved. It
-- names no keys, so one slot that is being moved does not redirect the call.
local function mark(keys, args)
  local marks_slots = #keys == 0 and #args >= 4 and #args <= 3 + MAX_SLOTS and slots.are_used_by(args[3])
  if not marks_slots and (#keys ~= 2 or #args ~= 2) then
    return refuse('expected the keys of the dataset and of the settings, the settings, and 1 or 0')
  end
  local own = parse_settings(args[1])
  if not own then
    return refuse('invalid settings')
  end
  if marks_slots then
    return mark_slots(args, own, args[2] == '1')
  end
  return mark_all(keys, own, args[2] == '1')
end

-- The two small keys must be correct also when the memory is full.
redis.register_function({
  function_name = 'gateway_mark',
  callback = mark,
  flags = { 'allow-oom', 'allow-cross-slot-keys' },
})
