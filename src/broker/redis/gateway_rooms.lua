
-- Rooms and channels in use: how many sessions are subscribed, which users, and what is in use. Only gateways call
-- these functions.
--
-- A replica reports its own number of sessions in a room, at most once a second and only when it has changed. Its own
-- members and its own channels are reported as its users are. All keys share the slot of the leases:
--
--   room:<channel>              a hash: each replica, and its number of sessions
--   rooms:<replica>             a set: the rooms that this replica has counted
--   members:<channel>           a sorted set of users, for pages
--   in-use                      a sorted set of channels, for pages
--
-- The name of a replica is that of its process, a hyphen and the number of its lease. A count replaces those of earlier
-- leases of the process in the same step, and a count whose lease has lapsed is not added.
--
-- Changes are published on `<prefix>:{presence}:rooms`, once for each call of a function: a list of
-- `{"channel":…,"count":…,"joined":[…],"left":[…]}`. Counts of sessions have no users. A room of members without users
-- has more than `presence.max_members`.

-- The most rooms of one call. A room takes longer than a name of a report, because all its counts are read.
local MAX_ROOMS = 100
-- The most entries of a page, as over HTTP.
local MAX_PAGE = 1000
-- The most counts that a page adds up, because one call blocks Redis until it has finished. A longer page ends early.
local MAX_COUNTS = 5000

local function publish_rooms(presence, updates)
  if #updates > 0 then
    redis.call(presence.publish, presence.base .. 'rooms', cjson.encode(updates))
  end
end

-- Writes the members that have come or left, and publishes the changes of their rooms.
function rooms.write_members(presence, names, is_begin, max_members)
  local users_of, order, updates = {}, {}, {}
  for _, name in ipairs(names) do
    local room, user = string.match(name, '^([^ ]+) ([^ ]+)$')
    if room and not users_of[room] then
      users_of[room] = {}
      order[#order + 1] = room
    end
    if room then
      table.insert(users_of[room], user)
    end
  end
  for _, room in ipairs(order) do
    local key, users = presence.base .. 'members:' .. room, users_of[room]
    if is_begin then
      local scored = {}
      for _, user in ipairs(users) do
        scored[#scored + 1] = '0'
        scored[#scored + 1] = user
      end
      redis.call('ZADD', key, unpack(scored))
    else
      redis.call('ZREM', key, unpack(users))
    end
    local update = { channel = room, count = redis.call('ZCARD', key) }
    -- Subscribers of a room that has, or had, more members do not learn of joins and leaves.
    if update.count + (is_begin and 0 or #users) <= max_members then
      update[is_begin and 'joined' or 'left'] = users
    end
    updates[#updates + 1] = update
  end
  publish_rooms(presence, updates)
end

-- The name of the process of a replica with a hyphen, and the number of its lease.
local function process_of(replica)
  local process, lease = string.match(replica or '', '^(.+%-)(%d+)$')
  return process, tonumber(lease)
end

-- The sessions in a room on replicas with a lease, and the number of counts. With `process`, its own counts are not
-- added, and the third result has them. `alive` caches which replicas have a lease. The loop runs for each replica of
-- each room, so it must stay cheap.
local function sum_room(presence, key, now, alive, process)
  local values, sum, own = redis.call('HGETALL', key), 0, nil
  for at = 1, #values, 2 do
    local replica = values[at]
    if alive[replica] == nil then
      alive[replica] = is_alive(presence, replica, now) or false
    end
    if process and string.sub(replica, 1, #process) == process then
      own = own or {}
      own[replica] = tonumber(values[at + 1])
    elseif alive[replica] then
      sum = sum + values[at + 1]
    end
  end
  return sum, #values / 2, own
end

-- Writes the sessions of this replica in a room. Returns how many there are on all replicas, if that has changed.
local function write_count(presence, room, sessions, replica, now, alive)
  local key, process, lease = presence.base .. 'room:' .. room, process_of(replica)
  local others, _, own = sum_room(presence, key, now, alive, process)
  local before = 0
  for other, counted in pairs(own or {}) do
    local _, number = process_of(other)
    -- A late call under an earlier lease.
    if number and number > lease then
      return nil
    end
    before = before + (alive[other] and counted or 0)
    if other ~= replica then
      redis.call('HDEL', key, other)
    end
  end
  if sessions > 0 then
    redis.call('HSET', key, replica, string.format('%.0f', sessions))
  else
    redis.call('HDEL', key, replica)
  end
  return before ~= sessions and others + sessions or nil
end

-- FCALL gateway_count 1 <prefix>:{presence}:replicas <replica> <room> <sessions> <1: publish the sum, or 0> …
--
-- Reports how many sessions of this replica are subscribed to each room. Repeating it changes nothing. Returns 1, or 0
-- when the lease has lapsed.
local function count(keys, args)
  local presence, now = presence_of(keys), now_ms()
  if not presence or not process_of(args[1]) or #args < 4 or #args % 3 ~= 1 then
    return refuse('give the key of the replicas, a replica, and rooms, each with its sessions and 1 or 0')
  elseif #args > 3 * MAX_ROOMS + 1 then
    return refuse(string.format('name at most %d at a time', MAX_ROOMS))
  end
  for at = 3, #args, 3 do
    if not string.match(args[at], '^%d+$') or #args[at] > 9 then
      return refuse('give a number of sessions for each room')
    end
  end
  if not is_alive(presence, args[1], now) then
    return 0
  end
  local alive, kept, gone, updates = {}, {}, {}, {}
  for at = 2, #args, 3 do
    local room, sessions = args[at], tonumber(args[at + 1])
    local list = sessions > 0 and kept or gone
    list[#list + 1] = room
    local sum = write_count(presence, room, sessions, args[1], now, alive)
    if sum and args[at + 2] == '1' then
      updates[#updates + 1] = { channel = room, count = sum }
    end
  end
  local reported = presence.base .. 'rooms:' .. args[1]
  if #kept > 0 then
    redis.call('SADD', reported, unpack(kept))
  end
  if #gone > 0 then
    redis.call('SREM', reported, unpack(gone))
  end
  publish_rooms(presence, updates)
  return 1
end

-- Takes the counts of a replica without a lease. `limit`: how many names the caller may still take; a room weighs as
-- much as several. Returns the weight of what it took.
function rooms.bury(presence, replica, limit, now)
  local weight = MAX_REPORTED / MAX_ROOMS
  if limit < weight then
    -- The caller must see that nothing is left to take in this call, and call again.
    return limit
  end
  local key_of_room, alive, updates = presence.base .. 'room:', {}, {}
  local names = redis.call('SPOP', presence.base .. 'rooms:' .. replica, math.floor(limit / weight))
  for _, room in ipairs(names) do
    -- A later lease of the process has replaced the other counts.
    if redis.call('HDEL', key_of_room .. room, replica) == 1 then
      updates[#updates + 1] = { channel = room, count = (sum_room(presence, key_of_room .. room, now, alive)) }
    end
  end
  publish_rooms(presence, updates)
  return weight * #names
end

-- The sessions of a room on replicas with a lease, its members, and the number of counts that were read.
local function read_room(presence, room, now, alive)
  local sessions, counts = sum_room(presence, presence.base .. 'room:' .. room, now, alive)
  return sessions, redis.call('ZCARD', presence.base .. 'members:' .. room), counts
end

-- FCALL gateway_rooms 1 <prefix>:{presence}:replicas <process> <room> …
--
-- Publishes the sessions and the members of each room on `<prefix>:{presence}:rooms:<process>`. A subscriber of both
-- channels receives them in the order of the changes.
local function publish_read(keys, args)
  local presence, now, alive = presence_of(keys), now_ms(), {}
  if not presence or #args < 2 or #args > MAX_ROOMS + 1 then
    return refuse(string.format('give the key of the replicas, a process, and 1 to %d rooms', MAX_ROOMS))
  end
  local found = {}
  for at = 2, #args do
    local sessions, members = read_room(presence, args[at], now, alive)
    found[#found + 1] = { channel = args[at], sessions = sessions, members = members }
  end
  redis.call(presence.publish, presence.base .. 'rooms:' .. args[1], cjson.encode(found))
  return 1
end

-- FCALL gateway_channel 1 <prefix>:{presence}:replicas <channel>
--
-- Returns on how many replicas a channel is in use (-1: it is not), its sessions, and its members.
local function read_channel(keys, args)
  local presence = presence_of(keys)
  if not presence or #args ~= 1 then
    return refuse('give the key of the replicas, and a channel')
  end
  local replicas = redis.call('HMGET', presence.base .. KINDS.channels.counts, args[1])[1]
  local sessions, members = read_room(presence, args[1], now_ms(), {})
  return { tonumber(replicas or '-1'), sessions, members }
end

-- The range of a page of names: those after `after` that begin with `prefix`.
local function page_range(prefix, after)
  local first = after == '' and '-' or '(' .. after
  if prefix == '' then
    return first, '+'
  end
  -- The next character after a colon is a semicolon.
  return after > prefix and first or '[' .. prefix, '(' .. string.sub(prefix, 1, -2) .. ';'
end

-- FCALL gateway_channels 1 <prefix>:{presence}:replicas <namespace, or empty> <after, or empty> <limit>
--
-- Returns 1 if more channels follow, and a list with the name, the replicas, the sessions and the members of each.
local function read_channels(keys, args)
  local presence, now, limit = presence_of(keys), now_ms(), tonumber(args[3])
  if not presence or #args ~= 3 or not limit or limit < 1 or limit > MAX_PAGE then
    local text = 'give the key of the replicas, a namespace, a channel, and a limit of 1 to %d'
    return refuse(string.format(text, MAX_PAGE))
  end
  local first, last = page_range(args[1] == '' and '' or args[1] .. ':', args[2])
  -- Only the channel `all` has no colon.
  if args[1] == 'all' then
    first, last = args[2] < 'all' and '[all' or '(all', '[all'
  end
  local names = redis.call('ZRANGEBYLEX', presence.base .. 'in-use', first, last, 'LIMIT', 0, limit + 1)
  local has_more, found, alive, counts = #names > limit, {}, {}, 0
  names[limit + 1] = nil
  local replicas = #names > 0 and redis.call('HMGET', presence.base .. KINDS.channels.counts, unpack(names))
  for at, channel in ipairs(names) do
    local sessions, members, read = read_room(presence, channel, now, alive)
    for _, value in ipairs({ channel, tonumber(replicas[at] or '0'), sessions, members }) do
      found[#found + 1] = value
    end
    counts = counts + read
    if counts > MAX_COUNTS and at < #names then
      has_more = true
      break
    end
  end
  return { has_more and 1 or 0, found }
end

-- FCALL gateway_members 1 <prefix>:{presence}:replicas <channel> <after, or empty> <limit>
--
-- Returns how many members a channel has, 1 if more follow this page, and the ids of the page in byte order.
local function read_members(keys, args)
  local presence, limit = presence_of(keys), tonumber(args[3])
  if not presence or #args ~= 3 or not limit or limit < 1 or limit > MAX_PAGE then
    return refuse(string.format('give the key of the replicas, a channel, a user, and a limit of 1 to %d', MAX_PAGE))
  end
  local key, first, last = presence.base .. 'members:' .. args[1], page_range('', args[2])
  local users = redis.call('ZRANGEBYLEX', key, first, last, 'LIMIT', 0, limit + 1)
  local has_more = #users > limit and 1 or 0
  users[limit + 1] = nil
  return { redis.call('ZCARD', key), has_more, users }
end

redis.register_function('gateway_count', slots.guard(count))
redis.register_function('gateway_rooms', slots.guard(publish_read))
redis.register_function('gateway_channel', slots.guard(read_channel))
redis.register_function('gateway_channels', slots.guard(read_channels))
redis.register_function('gateway_members', slots.guard(read_members))
