
-- Or push: gateway_publish hands the message to a worker if the user is away.
--
-- The functions of presence write the keys that this reads. They are in one slot, so there is no push where channels are
-- spread over the slots of a cluster.

-- The commands of push: the command, a key after the base, and as many arguments as the check needs.
local PUSH_RIGHTS = {
  { 'HMGET', 'online', '1' },
  { 'ZRANGEBYSCORE', 'replicas', '1', '1' },
  { 'XADD', 'offline', '*', '1', '1' },
}

-- The keys for a user's channel, and whether the user is away; or an error. Writes nothing.
local function find_push(key, settings, now)
  local prefix, user = string.match(key, '^([^:]+):user:(.+)$')
  if not user then
    return nil, refuse('push is only for one channel of a user')
  elseif slots.are_used_by(prefix) then
    return nil, refuse('push needs broker.shards = "one": in this cluster, the presence of users is in another slot')
  elseif not settings.max_offline then
    return nil, refuse('push needs presence: set presence.enabled on every gateway of this prefix')
  end
  local base = prefix .. ':{presence}:'
  for _, right in ipairs(PUSH_RIGHTS) do
    if not redis.acl_check_cmd(right[1], base .. right[2], unpack(right, 3)) then
      return nil, redis.error_reply('NOPERM gateway: this user may not run ' .. right[1] .. ' on ' .. base .. right[2])
    end
  end
  local counts = redis.pcall('HMGET', base .. 'online', user)
  -- A running replica renews its lease. Without any lease, the counts are those of dead replicas.
  local living = redis.pcall('ZRANGEBYSCORE', base .. 'replicas', string.format('(%.0f', now), '+inf', 'LIMIT', 0, 1)
  local fault = counts.err or living.err
  if fault then
    return nil, refuse('push cannot read the presence of users: ' .. fault)
  end
  local sessions = counts[1] and tonumber(counts[1]) or 0
  return { stream = base .. 'offline', user = user, is_away = #living == 0 or sessions <= 0 }
end

-- Hands a message to push. Returns an error if that fails.
local function hand_to_push(push, position, message, settings, now)
  local at = string.format('%.0f', now)
  local fields = { 'user', push.user, 'position', position, 'message', message, 'at', at }
  local added = redis.pcall('XADD', push.stream, 'MAXLEN', '~', settings.max_offline, '*', unpack(fields))
  local fault = type(added) == 'table' and added.err
  return fault and refuse('push cannot write ' .. push.stream .. ': ' .. fault) or nil
end
