
-- The inbox: messages of clients for the backend. Only gateways call gateway_send; backends read the stream by consumer
-- group and delete the entries that they have processed.
--
--   inbox                             a stream: `user`, `session`, `channel`, `id`, `message`, `at`
--   inbox:once:{<inbox>}:<user>:<id>  text: the entry of this message, and its digest
--
-- The gateway has checked that the message is JSON. Nothing is trimmed: a full inbox refuses messages.
do
  local MAX_ID_BYTES = 64
  -- A part of the digest is enough: it detects mistakes of a client, and only the client itself could forge it.
  local DIGEST_DIGITS = 16

  -- The key of the receipt. A user id may contain colons but no space, so each pair of a user and an id has a key of its
  -- own.
  local function receipt_of(inbox, user, id)
    return inbox .. ':once:{' .. inbox .. '}:' .. string.gsub(user, ':', ' ') .. ':' .. id
  end

  local function missing_right(inbox, receipt)
    local rights = { { 'XLEN', inbox }, { 'XADD', inbox, '*', '1', '1' }, { 'GET', receipt }, { 'SET', receipt, '1' } }
    for _, right in ipairs(rights) do
      if not redis.acl_check_cmd(unpack(right)) then
        return redis.error_reply('NOPERM gateway: this user may not run ' .. right[1] .. ' on ' .. right[2])
      end
    end
  end

  -- Returns why these are not a key and arguments of gateway_send, or nil.
  local function find_bad_argument(keys, args)
    if #keys ~= 1 or #args ~= 5 then
      return 'expected the key of the inbox, a user, a session, a channel, an id and a message'
    elseif #keys[1] > MAX_KEY_BYTES or select(2, split_key(keys[1])) ~= 'inbox' then
      return 'the key must be <prefix>:inbox'
    elseif not is_name(args[1], 250) then
      return 'the user is not valid'
    elseif not is_session_id(args[2]) then
      return 'the session is not valid'
    elseif not is_channel(args[3]) then
      return 'the channel is not valid'
    elseif #args[4] == 0 or #args[4] > MAX_ID_BYTES then
      return string.format('an id has 1 to %d bytes', MAX_ID_BYTES)
    end
  end

  -- FCALL gateway_send 1 <prefix>:inbox <user> <session> <channel> <id> <message>
  --
  -- Returns the id of the entry. A call with the user and the id of an earlier one adds nothing and returns the same
  -- entry, also if the entry was deleted or the inbox is full.
  local function send(keys, args)
    local bad = find_bad_argument(keys, args)
    if bad then
      return refuse(bad)
    end
    local inbox, user, session, channel, id, message = keys[1], unpack(args)
    local settings, refusal = settings_of(string.match(inbox, '^[^:]+'), inbox)
    if refusal then
      return refusal
    end
    local receipt = receipt_of(inbox, user, id)
    local missing = missing_right(inbox, receipt)
    if missing then
      return missing
    end
    local digest = string.sub(redis.sha1hex(channel .. ' ' .. message), 1, DIGEST_DIGITS)
    local stored = redis.pcall('GET', receipt)
    if type(stored) == 'table' then
      return stored
    elseif stored then
      local entry, stored_digest = string.match(stored, '^([^#]+)#(%x+)$')
      if stored_digest ~= digest then
        return redis.error_reply('IDREUSED gateway: this id was used with another message')
      end
      return entry
    end
    local count = redis.pcall('XLEN', inbox)
    if type(count) == 'table' then
      return count
    elseif count >= settings.inbox_max_entries then
      local text = 'INBOXFULL gateway: the inbox has %.0f entries; delete those that are processed'
      return redis.error_reply(string.format(text, count))
    end
    local at = string.format('%.0f', now_ms())
    local fields = { 'user', user, 'session', session, 'channel', channel, 'id', id, 'message', message, 'at', at }
    -- The first write: if it fails, nothing is stored.
    local entry = redis.pcall('XADD', inbox, '*', unpack(fields))
    if type(entry) == 'table' and entry.err then
      return entry
    end
    redis.call('SET', receipt, entry .. '#' .. digest, 'PX', settings.idempotency_window_ms)
    return entry
  end

  redis.register_function('gateway_send', slots.guard(send))
end
