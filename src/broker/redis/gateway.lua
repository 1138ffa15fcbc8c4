#!lua name=gateway

-- Durable publishing, presence, control and the inbox. The gateway loads this library into Redis, and any backend can
-- publish:
--
--   FCALL gateway_publish 1 gateway:user:42 '{"content":"hi"}' [idempotency key [push]]
--
-- This call appends the message to the history of each named channel and publishes it there, in one atomic step. It
-- returns the position of the message: text for one channel, a list for several. A history is a stream at the channel's
-- own name. The ids of its entries are <epoch>-<offset>: the offset counts 1, 2, 3 ... without a hole, the epoch is the
-- time in milliseconds at which the count began.
--
-- Files, which are loaded as one library:
--
-- - gateway.lua: the settings, and positions.
-- - gateway_slots.lua: the slots of a cluster.
-- - gateway_json.lua: checks that a message is JSON.
-- - gateway_push.lua: hands a message to push if its user is away.
-- - gateway_publish.lua: gateway_publish.
-- - gateway_mark.lua: gateway_mark, which maintains the settings and the dataset marker. Only gateways call it.
-- - gateway_presence.lua: leases, and which users, channels and members each replica has. Only gateways call it.
-- - gateway_rooms.lua: counts, members and channels in use. Only gateways call it.
-- - gateway_control.lua: gateway_control, which sends a command to every replica, and the answers. Backends call it.
-- - gateway_inbox.lua: gateway_send, which puts a client's message into the inbox. Only gateways call it.
--
-- All prefixes of one Redis share this library. The prefix of a key ends before its first colon. The whole prefix may be
-- in braces, `{gateway}:user:42`: then all keys of the prefix share one slot of a cluster.
--
-- In a cluster, the channels of any other prefix are spread over the slots. Such a prefix has its settings once for each
-- slot, at `<prefix>:settings:{<tag>}`, and messages are published with SPUBLISH.
--
-- Redis does not undo the writes of a function that fails. So everything that can fail is checked before the first
-- write.

local VERSION = 6

-- Whether this Redis is a node of a cluster. A gateway that connects to a cluster loads `true`.
local CLUSTER = false

-- What gateway_slots.lua defines.
local slots = {}

-- The settings of a prefix without `<prefix>:settings`: the gateway's own defaults. Values that are passed to Redis are
-- text.
local DEFAULTS = {
  history_size = '1000',
  history_ttl_ms = '86400000',
  idempotency_window_ms = '600000',
  max_payload_bytes = 1048576,
  max_payload_depth = 128,
  revocation_ttl_ms = 2592005000,
  inbox_max_entries = 100000,
}

-- A prefix of 64 bytes in braces, a colon and a channel name of 255 bytes.
local MAX_KEY_BYTES = 322
local MAX_IDEMPOTENCY_KEY_BYTES = 255
-- One call blocks Redis until it has processed all its channels.
local MAX_CHANNELS = 1000
-- Redis' JSON parser recurses for each level.
local MAX_DEPTH = 1000
-- The largest integer up to which a Lua number holds every integer.
local MAX_NUMBER = 2 ^ 53 - 1
-- The commands that run on every channel. The user's ACL may refuse them. Each has as many arguments after its key as it
-- takes, because Redis 8 refuses to check another number.
local WRITES = { { 'XADD', '*', '1', '1' }, { 'PEXPIRE', '1' } }
-- How often to check whether this server was demoted and promoted again.
local CHECK_INTERVAL_MS = 1000

-- These variables live as long as this library in this process: a restart, a full resynchronisation and FUNCTION LOAD
-- reset them. An epoch from before a reset may have lost its last messages (with the end of the append-only file, or in
-- a failover), and their offsets must not be used again. So only epochs from `incarnation` to `last_epoch`, which began
-- after the reset, are continued.
local incarnation = nil
local last_epoch = 0
-- The channels whose history began at `last_epoch`, and their number. None of them may begin there again.
local begun, begun_count = {}, 0
local MAX_BEGUN = 1000
-- The replication id, which changes when the server becomes a master, and when it was last checked.
local replication_id, checked_ms = nil, 0
-- The incarnation of each slot, where channels are spread over the slots: a slot may come from a master that has lost the
-- last messages of an epoch, and that epoch may also be one of this server.
local incarnations = {}

-- The prefix of a key, and what follows its colon; nil if the key has no prefix.
local function split_key(key)
  local prefix, rest = string.match(key, '^([!-9;-z|~]+):(.+)$')
  if prefix then
    return prefix, rest
  end
  return string.match(key, '^({[!-9;-z|~]+}):(.+)$')
end

local function refuse(text)
  return redis.error_reply('ERR gateway: ' .. text)
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The last settings of each prefix, so the same text is not parsed again.
local known_settings, known_count = {}, 0
local MAX_KNOWN = 1000

-- The value if it is a whole number above 0, otherwise nil.
local function count_of(value)
  if type(value) == 'number' and value >= 1 and value <= MAX_NUMBER and value % 1 == 0 then
    return value
  end
  return nil
end

-- The settings of each namespace in `found`: `settings` with a history size and TTL of its own.
local function namespaces_of(settings, found)
  local namespaces = {}
  for name, options in pairs(found) do
    local size = type(options) == 'table' and count_of(options.history_size)
    local ttl = size and count_of(options.history_ttl_ms)
    if ttl then
      local own = {}
      for field, value in pairs(settings) do
        own[field] = value
      end
      own.history_size, own.history_ttl_ms = string.format('%.0f', size), string.format('%.0f', ttl)
      namespaces[name] = own
    end
  end
  return namespaces
end

-- Parses settings; returns nil if one is missing or invalid.
local function parse_settings(text)
  local is_json, found = pcall(cjson.decode, text)
  if not is_json or type(found) ~= 'table' then
    return nil
  end
  local size, ttl = count_of(found.history_size), count_of(found.history_ttl_ms)
  local window, max_bytes = count_of(found.idempotency_window_ms), count_of(found.max_payload_bytes)
  if not (size and ttl and window and max_bytes) then
    return nil
  end
  -- Older gateways do not write these three.
  local max_depth = count_of(found.max_payload_depth) or DEFAULTS.max_payload_depth
  local revocation_ttl = count_of(found.revocation_ttl_ms) or DEFAULTS.revocation_ttl_ms
  local inbox_max_entries = count_of(found.inbox_max_entries) or DEFAULTS.inbox_max_entries
  -- Only gateways with presence write this one.
  local max_edges = count_of(found.presence_max_edges)
  local settings = {
    text = text,
    history_size = string.format('%.0f', size),
    history_ttl_ms = string.format('%.0f', ttl),
    idempotency_window_ms = string.format('%.0f', window),
    max_payload_bytes = max_bytes,
    max_payload_depth = math.min(max_depth, MAX_DEPTH),
    max_offline = max_edges and string.format('%.0f', max_edges),
    revocation_ttl_ms = revocation_ttl,
    inbox_max_entries = inbox_max_entries,
  }
  if type(found.namespaces) == 'table' then
    settings.namespaces = namespaces_of(settings, found.namespaces)
  end
  return settings
end

-- Keeps the settings that were last read for a prefix.
local function remember_settings(prefix, settings)
  if not known_settings[prefix] then
    if known_count >= MAX_KNOWN then
      known_settings, known_count = {}, 0
    end
    known_count = known_count + 1
  end
  known_settings[prefix] = settings
end

-- The settings in force for the data of a prefix at `key`, or an error.
local function settings_of(prefix, key)
  local settings_key, known = slots.settings_key(prefix, key), known_settings[prefix]
  local text = redis.pcall('GET', settings_key)
  if not text then
    -- In a cluster, a slot that is being moved may have no settings here.
    return CLUSTER and known or DEFAULTS
  end
  if known and known.text == text then
    return known
  end
  if type(text) ~= 'string' then
    if not redis.acl_check_cmd('GET', settings_key) then
      return nil, redis.error_reply('NOPERM gateway: this user may not run GET on ' .. settings_key)
    end
    if CLUSTER and not string.find(text.err, 'WRONGTYPE', 1, true) then
      return known or DEFAULTS
    end
    return nil, text
  end
  local settings = parse_settings(text)
  if not settings then
    return nil, refuse('the settings at ' .. settings_key .. ' cannot be read; a gateway will write them again')
  end
  remember_settings(prefix, settings)
  return settings
end

-- Starts a new incarnation if the server was a Redis replica in the meantime: it may have received a history without its
-- last messages, although this library was not loaded again. The replication id shows that. A user without INFO skips
-- the check.
local function update_incarnation(now)
  if incarnation and now >= checked_ms and now - checked_ms < CHECK_INTERVAL_MS then
    return
  end
  checked_ms = now
  local info = redis.pcall('INFO', 'replication')
  local found = type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or replication_id
  if not incarnation or found ~= replication_id then
    incarnation = math.max(now, last_epoch + 1)
    replication_id = found
  end
end

-- The first epoch that a history at `key` may continue. Each slot of a sharded prefix has a first epoch of its own, which
-- begins when the slot comes from another server: its marker names the server that last marked it. The check may be late:
-- a slot that leaves and comes back within the interval cannot have lost messages in a failover meanwhile. A user who may
-- not read the marker skips the check.
local function incarnation_of(key, now)
  if not slots.are_used_by(key) then
    return incarnation
  end
  local tag = slots.tag(slots.of(key))
  local known = incarnations[tag]
  if known and known.began == incarnation and now >= known.checked_ms and now - known.checked_ms < CHECK_INTERVAL_MS then
    return known.first
  end
  local marker = redis.pcall('GET', string.match(key, '^[^:]+') .. ':dataset:{' .. tag .. '}')
  local server = type(marker) == 'string' and string.match(marker, '"run_id":"(%x+)"') or known and known.server
  if not known or known.began ~= incarnation or known.server ~= server then
    known = { began = incarnation, server = server, first = math.max(now, last_epoch + 1) }
    incarnations[tag] = known
  end
  known.checked_ms = now
  return known.first
end

-- Returns the epoch of a new history of `key`. A channel never begins twice at one epoch, also if its history was
-- deleted a moment ago or the clock was set back. Different channels may share an epoch, so epochs do not run ahead of
-- the clock.
local function begin_epoch(key, not_before)
  if not_before > last_epoch then
    last_epoch, begun, begun_count = not_before, {}, 0
  elseif begun[key] or begun_count >= MAX_BEGUN then
    last_epoch, begun, begun_count = last_epoch + 1, {}, 0
  end
  begun[key] = true
  begun_count = begun_count + 1
  return last_epoch
end

-- The prefix and the namespace of a channel's key, `<prefix>:all` or `<prefix>:<namespace>:<name>`; nil for any other
-- key.
local function prefix_of(key)
  local prefix, channel = split_key(key)
  if not prefix or #key > MAX_KEY_BYTES then
    return nil
  elseif slots.are_used_by(key) then
    -- Presence publishes on these channels in its own slot.
    channel = string.match(channel, '^{presence}:(online:.+)$') or channel
  end
  local namespace = channel == 'all' and channel or string.match(channel, '^([^:]+):.')
  if namespace and not string.find(channel, '[^!-z|~]') then
    return prefix, namespace
  end
end

-- The settings in force for a namespace. `online` takes nothing from `default`. Older gateways write no namespaces.
local function settings_of_namespace(settings, namespace)
  local namespaces = settings.namespaces
  if not namespaces then
    return settings
  end
  return namespaces[namespace] or namespace ~= 'online' and namespaces.default or settings
end

-- The settings in force for each key, or an error. Writes nothing.
local function settings_of_each(keys)
  local of_key, of_prefix = {}, {}
  for _, key in ipairs(keys) do
    local prefix, namespace = prefix_of(key)
    if not prefix then
      return nil, refuse('the key must be <prefix>:all or <prefix>:<namespace>:<name>')
    elseif namespace == 'online' and slots.are_used_by(prefix) and not string.find(key, '{', 1, true) then
      return nil, refuse('in this cluster, online:<user> is at <prefix>:{presence}:online:<user>')
    end
    if not of_prefix[prefix] then
      local settings, refusal = settings_of(prefix, key)
      if refusal then
        return nil, refusal
      end
      of_prefix[prefix] = settings
    end
    of_key[key] = settings_of_namespace(of_prefix[prefix], namespace)
  end
  return of_key
end

-- The position of the next message of `key`, or an error. Writes nothing.
local function next_position(key, now)
  local publish = slots.publish_command(key)
  if not redis.acl_check_cmd(publish, key, '1') then
    return nil, redis.error_reply('NOPERM gateway: this user may not run ' .. publish .. ' on ' .. key)
  end
  for _, right in ipairs(WRITES) do
    if not redis.acl_check_cmd(right[1], key, unpack(right, 2)) then
      return nil, redis.error_reply('NOPERM gateway: this user may not run ' .. right[1] .. ' on ' .. key)
    end
  end
  local first_epoch = incarnation_of(key, now)
  if redis.call('EXISTS', key) == 0 then
    return { epoch = begin_epoch(key, math.max(now, first_epoch)), offset = 1 }
  end
  -- The last id and not the last entry: entries may have been deleted, and their ids must not be used again.
  local stream = redis.pcall('XINFO', 'STREAM', key)
  if stream.err then
    return nil, stream
  end
  local last
  for at = 1, #stream, 2 do
    if stream[at] == 'last-generated-id' then
      last = stream[at + 1]
    end
  end
  local epoch, offset = string.match(last, '^(%d+)-(%d+)$')
  epoch, offset = tonumber(epoch), tonumber(offset)
  if epoch >= MAX_NUMBER or offset >= MAX_NUMBER then
    return nil, refuse('the stream ' .. key .. ' is not a history')
  end
  if epoch >= first_epoch and epoch <= last_epoch then
    return { epoch = epoch, offset = offset + 1 }
  end
  return { epoch = begin_epoch(key, math.max(now, first_epoch, epoch + 1)), offset = 1, after = last }
end
