
-- Presence: which replicas live, and which users, channels and members they have. Only gateways call these functions.
--
-- A replica has a lease on `<prefix>:{presence}:replicas`, which it renews every second. It reports its own first and
-- last session of a user, and its own first and last subscriber of a channel. All keys share one slot of a cluster:
--
--   replicas                    a sorted set: each replica and when its lease lapses, in Unix milliseconds
--   processes                   a sorted set: each process and when the latest of its leases lapses; those that ended
--                               properly are removed, the others after a minute
--   users:, channels:, joined:<replica>   sets: what this replica has reported of each kind
--   online, occupied, joined    hashes: each user, channel and member (`<channel> <user>`), and its number of replicas
--   leaving:<kind>              a sorted set: what has count 0, and when its edge is due
--   edges, channels             streams of edges
--
-- A user whose count is 0 stays in `online` until its edge is written: it has not been away yet.
--
-- gateway_rooms.lua has what only rooms and channels in use need.

local KINDS = {
  users = {
    reported = 'users:',
    counts = 'online',
    stream = 'edges',
    field = 'user',
    begins = 'online',
    ends = 'offline',
  },
  channels = {
    reported = 'channels:',
    counts = 'occupied',
    stream = 'channels',
    field = 'channel',
    begins = 'occupied',
    ends = 'vacated',
  },
  -- Members have no stream: `members:<channel>` is a key of gateway_rooms.lua.
  members = { reported = 'joined:', counts = 'joined' },
}

-- What gateway_rooms.lua defines.
local rooms = {}

-- The most names of one call, because the call blocks Redis until it has finished.
local MAX_REPORTED = 500
-- The arguments of a report before its names.
local REPORT_FIELDS = 3

-- The deployments that called before, by the key of their leases: matching it again costs more than a command.
local known_deployments, deployment_count = {}, 0
local MAX_DEPLOYMENTS = 1000

-- The keys of the deployment, from the key of its leases; nil for any other key.
local function presence_of(keys)
  local known = #keys == 1 and known_deployments[keys[1]]
  if known then
    return known
  end
  local prefix, key = split_key(keys[1] or '')
  if #keys ~= 1 or key ~= '{presence}:replicas' then
    return nil
  end
  if deployment_count >= MAX_DEPLOYMENTS then
    known_deployments, deployment_count = {}, 0
  end
  local base = prefix .. ':{presence}:'
  local presence = {
    base = base,
    replicas = keys[1],
    publish = slots.publish_command(prefix),
    -- In a sharded cluster, the channels of users are in the slot of presence.
    online = (slots.are_used_by(prefix) and base or prefix .. ':') .. 'online:',
  }
  known_deployments[keys[1]], deployment_count = presence, deployment_count + 1
  return presence
end

-- Whether the lease of this replica has not lapsed.
local function is_alive(presence, replica, now)
  local lapses = redis.call('ZSCORE', presence.replicas, replica)
  return lapses and tonumber(lapses) > now
end

-- Writes the edges of these names, and publishes those of users on `online:<user>`. `limit`: the most entries of the
-- stream; for members, the most members of a room whose joins and leaves are published.
local function write_edges(presence, kind, names, is_begin, now, limit)
  if kind == KINDS.members then
    return rooms.write_members(presence, names, is_begin, tonumber(limit) or 0)
  end
  local at, state = string.format('%.0f', now), is_begin and kind.begins or kind.ends
  local stream, channel = presence.base .. kind.stream, presence.online
  local text = string.format('{"online":%s,"at":%s}', is_begin and 'true' or 'false', at)
  for _, name in ipairs(names) do
    redis.call('XADD', stream, 'MAXLEN', '~', limit, '*', kind.field, name, 'state', state, 'at', at)
    if kind == KINDS.users then
      redis.call(presence.publish, channel .. name, text)
    elseif is_begin then
      redis.call('ZADD', presence.base .. 'in-use', '0', name)
    else
      redis.call('ZREM', presence.base .. 'in-use', name)
    end
  end
end

-- One replica fewer has these names. `due`: when their edges are to be written, if no replica has them then.
local function count_down(presence, kind_name, names, due)
  local counts, leaving = presence.base .. KINDS[kind_name].counts, {}
  for _, name in ipairs(names) do
    if redis.call('HINCRBY', counts, name, -1) <= 0 then
      leaving[#leaving + 1] = due
      leaving[#leaving + 1] = name
    end
  end
  if #leaving > 0 then
    redis.call('ZADD', presence.base .. 'leaving:' .. kind_name, unpack(leaving))
  end
end

local function write_reported(reported, is_addition, ...)
  if is_addition then
    return redis.call('SADD', reported, ...)
  end
  return redis.call('SREM', reported, ...)
end

-- Adds the names of a report to the set of reported names, or removes them. Returns the names that this changed, each
-- once.
local function change_reported(reported, args, is_addition)
  local names = { unpack(args, REPORT_FIELDS + 1) }
  -- Most reports have one name, for which one command is enough.
  if #names == 1 then
    return write_reported(reported, is_addition, names[1]) == 1 and names or {}
  end
  local found, wanted = redis.call('SMISMEMBER', reported, unpack(names)), is_addition and 0 or 1
  local chosen, seen = {}, {}
  for at, name in ipairs(names) do
    if found[at] == wanted and not seen[name] then
      seen[name] = true
      chosen[#chosen + 1] = name
    end
  end
  if #chosen > 0 then
    write_reported(reported, is_addition, unpack(chosen))
  end
  return chosen
end

-- What the functions run: the command, a key after the base, and as many arguments as the check needs.
local RIGHTS = {
  { 'EXISTS', 'leaving:users' },
  { 'ZREMRANGEBYSCORE', 'processes', '1', '1' },
  { 'SADD', 'users:x', '1' },
  { 'SREM', 'users:x', '1' },
  { 'SPOP', 'users:x', '1' },
  { 'SMISMEMBER', 'users:x', '1' },
  { 'HINCRBY', 'online', '1', '1' },
  { 'HDEL', 'online', '1' },
  { 'ZADD', 'leaving:users', '1', '1' },
  { 'ZREM', 'leaving:users', '1' },
  { 'ZRANGEBYSCORE', 'leaving:users', '1', '1' },
  { 'XADD', 'edges', '*', '1', '1' },
  { 'ZCARD', 'members:x' },
  { 'HSET', 'room:x', '1', '1' },
  { 'HGETALL', 'room:x' },
}

local function no_permission(command, key)
  return redis.error_reply('NOPERM gateway: this user may not run ' .. command .. ' on ' .. key)
end

-- The first right that this user lacks, as an error. Redis does not undo what a function has written before a refused
-- command, so a replica without all rights gets no lease.
local function missing_right(presence)
  for _, right in ipairs(RIGHTS) do
    if not redis.acl_check_cmd(right[1], presence.base .. right[2], unpack(right, 3)) then
      return no_permission(right[1], presence.base .. right[2])
    end
  end
  for _, channel in ipairs({ presence.online .. 'x', presence.base .. 'rooms', presence.base .. 'rooms:x' }) do
    if not redis.acl_check_cmd(presence.publish, channel, '1') then
      return no_permission(presence.publish, channel)
    end
  end
end

-- The keys whose names are known, and their types.
local TYPES = {
  { 'replicas', 'a sorted set' },
  { 'processes', 'a sorted set' },
  { 'in-use', 'a sorted set' },
  { 'online', 'a hash' },
  { 'occupied', 'a hash' },
  { 'joined', 'a hash' },
  { 'edges', 'a stream' },
  { 'channels', 'a stream' },
  { 'leaving:users', 'a sorted set' },
  { 'leaving:channels', 'a sorted set' },
  { 'leaving:members', 'a sorted set' },
}

-- What reads a key of each type, and fails if the key has another type.
local READS = {
  ['a hash'] = { 'HMGET', 'x' },
  ['a stream'] = { 'XRANGE', '+', '-', 'COUNT', '1' },
  ['a sorted set'] = { 'ZSCORE', 'x' },
}

-- Which key is not of its type, as an error. A function that meets such a key fails after its first writes, so a replica
-- gets no lease then.
local function wrong_type(presence)
  for _, expected in ipairs(TYPES) do
    local key, read = presence.base .. expected[1], READS[expected[2]]
    local answer = redis.pcall(read[1], key, unpack(read, 2))
    -- Without the right to read a key, its type is not known.
    if type(answer) == 'table' and answer.err and string.find(answer.err, 'WRONGTYPE', 1, true) then
      return redis.error_reply('WRONGTYPE gateway: ' .. key .. ' is not ' .. expected[2])
    end
  end
end

-- Rights and types seldom change, and checking them costs more than the rest of a renewal. A replica renews its lease every
-- second, so about one renewal of ten falls into the second of the check. A call that is refused in between ends the
-- lease, and the next `enter` checks.
local CHECK_EVERY_MS = 10000

local function is_check_due(now)
  return now % CHECK_EVERY_MS < 1000
end

-- How long a process without a lease is still named among those that should answer a command, in milliseconds.
local LOST_FOR_MS = 60000

-- FCALL gateway_beat 1 <prefix>:{presence}:replicas <replica> <lease in ms> <enter, renew, retire or end>
--
-- Renews a lease. `enter` begins one; `retire` ends one, so that it is buried at once; `end` ends the process too. Returns
-- 1 and a replica that is to be buried (empty: none), or 0 when the lease has lapsed: the replica must enter again under
-- another name.
local function beat(keys, args)
  local presence, now = presence_of(keys), now_ms()
  local replica, lease_ms, step = args[1], tonumber(args[2]), args[3]
  if not presence or #args ~= 3 or not lease_ms then
    return refuse('give the key of the replicas, a replica, the length of a lease, and enter, renew, retire or end')
  end
  if step == 'enter' or is_check_due(now) then
    local wrong = missing_right(presence) or wrong_type(presence)
    if wrong then
      return wrong
    end
  end
  -- The names of the leases of a process are its own name and a number.
  local processes, process = presence.base .. 'processes', string.match(replica, '^(.+)%-%d+$') or replica
  if step == 'retire' or step == 'end' then
    redis.call('ZADD', presence.replicas, 'XX', 'LT', now, replica)
    if step == 'end' then
      redis.call('ZREM', processes, process)
    end
    return { 1, '' }
  end
  if step ~= 'enter' and not is_alive(presence, replica, now) then
    return { 0, '' }
  end
  redis.call('ZADD', presence.replicas, string.format('%.0f', now + lease_ms), replica)
  redis.call('ZADD', processes, string.format('%.0f', now + lease_ms), process)
  redis.call('ZREMRANGEBYSCORE', processes, '-inf', string.format('%.0f', now - LOST_FOR_MS))
  -- A clock that was set back must not keep a dead replica alive for longer than a lease.
  local latest = string.format('%.0f', now + lease_ms)
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', presence.replicas, '(' .. latest, '+inf', 'LIMIT', 0, 10)) do
    redis.call('ZADD', presence.replicas, latest, other)
  end
  local lapsed = redis.call('ZRANGEBYSCORE', presence.replicas, '-inf', now, 'LIMIT', 0, 1)
  return { 1, lapsed[1] or '' }
end

-- The keys of the deployment that a report is for, or an error.
local function check_report(keys, args)
  local presence = presence_of(keys)
  if not presence or not KINDS[args[1]] or #args <= REPORT_FIELDS then
    return nil, refuse('give the key of the replicas, users, channels or members, a replica, a number, and names')
  elseif #args - REPORT_FIELDS > MAX_REPORTED then
    return nil, refuse(string.format('name at most %d at a time', MAX_REPORTED))
  end
  return presence
end

-- FCALL gateway_enter 1 <prefix>:{presence}:replicas <kind> <replica> <most edges, or most members> <name> …
--
-- Reports what this replica has now. Repeating it changes nothing. Returns 1, or 0 when the lease has lapsed.
local function enter(keys, args)
  local presence, refusal = check_report(keys, args)
  if refusal then
    return refusal
  end
  local now, kind = now_ms(), KINDS[args[1]]
  if not is_alive(presence, args[2], now) then
    return 0
  end
  local names, begun = change_reported(presence.base .. kind.reported .. args[2], args, true), {}
  local counts, leaving, is_leaving = presence.base .. kind.counts, presence.base .. 'leaving:' .. args[1], nil
  for _, name in ipairs(names) do
    if redis.call('HINCRBY', counts, name, 1) == 1 then
      -- Most of the time no name is leaving.
      if is_leaving == nil then
        is_leaving = redis.call('EXISTS', leaving) == 1
      end
      if not (is_leaving and redis.call('ZREM', leaving, name) == 1) then
        begun[#begun + 1] = name
      end
    end
  end
  if #begun > 0 then
    write_edges(presence, kind, begun, true, now, args[3])
  end
  return 1
end

-- FCALL gateway_leave 1 <prefix>:{presence}:replicas <kind> <replica> <grace in ms> <name> …
--
-- Reports what this replica has no longer. Repeating it changes nothing. Returns 1, or 0 when the lease has lapsed.
local function leave(keys, args)
  local presence, refusal = check_report(keys, args)
  if refusal then
    return refusal
  end
  local now = now_ms()
  if not is_alive(presence, args[2], now) then
    return 0
  end
  local reported = presence.base .. KINDS[args[1]].reported .. args[2]
  local due = string.format('%.0f', now + (tonumber(args[3]) or 0))
  local names = change_reported(reported, args, false)
  count_down(presence, args[1], names, due)
  return 1
end

-- FCALL gateway_bury 1 <prefix>:{presence}:replicas <replica> <grace in ms>
--
-- Takes a slice of what a replica without a lease had reported. Returns 1 while there is more, 2 or 3 when this call has
-- finished the burial, and 0 when there is nothing to bury. 3: the process has no later lease and has not ended properly.
local function bury(keys, args)
  local presence, now = presence_of(keys), now_ms()
  if not presence or #args ~= 2 then
    return refuse('give the key of the replicas, a replica, and the grace in milliseconds')
  end
  local replica, lapsed = args[1], redis.call('ZSCORE', presence.replicas, args[1])
  if not lapsed or tonumber(lapsed) > now then
    return 0
  end
  lapsed = tonumber(lapsed)
  -- Each slice is due a moment after the one before, so that Redis appends to the sorted set. Inserting is slower.
  local due = string.format('%.3f', lapsed + (tonumber(args[2]) or 0) + (now - lapsed) / 1000)
  local left = MAX_REPORTED
  for _, kind_name in ipairs({ 'users', 'channels', 'members' }) do
    local names = left > 0 and redis.call('SPOP', presence.base .. KINDS[kind_name].reported .. replica, left) or {}
    count_down(presence, kind_name, names, due)
    left = left - #names
  end
  left = left - rooms.bury(presence, replica, left, now)
  if left > 0 then
    redis.call('ZREM', presence.replicas, replica)
    local latest = redis.call('ZSCORE', presence.base .. 'processes', string.match(replica, '^(.+)%-%d+$') or replica)
    return latest and tonumber(latest) <= now and 3 or 2
  end
  return 1
end

-- A clock that was set back must not keep a name from leaving for longer than the grace.
local function bring_forward(leaving, latest)
  local late, changes = redis.call('ZRANGEBYSCORE', leaving, '(' .. latest, '+inf', 'LIMIT', 0, MAX_REPORTED), {}
  for _, name in ipairs(late) do
    changes[#changes + 1] = latest
    changes[#changes + 1] = name
  end
  if #late > 0 then
    redis.call('ZADD', leaving, unpack(changes))
  end
end

-- FCALL gateway_settle 1 <prefix>:{presence}:replicas <most edges> <grace in ms> <most members>
--
-- Writes the edges that are due. Returns 1 while there are more. Gateways before version 5 give only the first argument.
local function settle(keys, args)
  local presence, now = presence_of(keys), now_ms()
  if not presence or (#args ~= 3 and #args ~= 1) then
    return refuse('give the key of the replicas, the most edges of a stream, the grace in ms, and the most members')
  end
  local grace_ms, has_more = tonumber(args[2]), 0
  for kind_name, kind in pairs(KINDS) do
    local leaving = presence.base .. 'leaving:' .. kind_name
    if grace_ms then
      bring_forward(leaving, string.format('%.0f', now + grace_ms))
    end
    local due = redis.call('ZRANGEBYSCORE', leaving, '-inf', now, 'LIMIT', 0, MAX_REPORTED)
    if #due > 0 then
      redis.call('ZREM', leaving, unpack(due))
      redis.call('HDEL', presence.base .. kind.counts, unpack(due))
      write_edges(presence, kind, due, false, now, kind.stream and args[1] or args[3])
    end
    has_more = math.max(has_more, #due == MAX_REPORTED and 1 or 0)
  end
  return has_more
end

redis.register_function('gateway_beat', slots.guard(beat))
redis.register_function('gateway_enter', slots.guard(enter))
redis.register_function('gateway_leave', slots.guard(leave))
redis.register_function('gateway_bury', slots.guard(bury))
redis.register_function('gateway_settle', slots.guard(settle))
