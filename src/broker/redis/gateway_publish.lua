
-- Appends messages to histories and publishes them. Backends call this.

local function position_of(next)
  return string.format('%.0f-%.0f', next.epoch, next.offset)
end

local function append(key, next, message, settings)
  local position = position_of(next)
  if next.after then
    -- Field `a` lets a reader prove that no message is missing between the two epochs.
    redis.call('XADD', key, 'MAXLEN', '~', settings.history_size, position, 'm', message, 'a', next.after)
  else
    redis.call('XADD', key, 'MAXLEN', '~', settings.history_size, position, 'm', message)
  end
  redis.call('PEXPIRE', key, settings.history_ttl_ms)
  redis.call(slots.publish_command(key), key, '@' .. position .. ' ' .. message)
  return position
end

local function answer(positions)
  if #positions == 1 then
    return positions[1]
  end
  return positions
end

-- The answer to the first use of this idempotency key, or an error; nil if the key was not used. `reports`: whether the
-- answer says if the message was handed to push.
local function answer_to_repeat(receipt, channels, digest, reports)
  for _, right in ipairs({ { 'GET', receipt }, { 'SET', receipt, '1' } }) do
    if not redis.acl_check_cmd(unpack(right)) then
      return redis.error_reply('NOPERM gateway: this user may not run ' .. right[1] .. ' on ' .. receipt)
    end
  end
  local stored = redis.call('GET', receipt)
  if not stored then
    return nil
  end
  -- Version 2 of this library wrote no digest. The mark at the end says that the message was handed to push.
  local list, stored_digest, pushed = string.match(stored, '^([^#]+)#?(%x*)(!?)$')
  local positions = {}
  for position in string.gmatch(list or '', '%S+') do
    positions[#positions + 1] = position
  end
  if #positions ~= channels then
    return refuse('this idempotency key was used with other channels')
  elseif stored_digest ~= '' and stored_digest ~= digest then
    return refuse('this idempotency key was used with another message')
  end
  return reports and { positions[1], pushed == '!' and 1 or 0 } or answer(positions)
end

-- FCALL gateway_publish <number of channels> <channel> … <message> [<idempotency key> [push [report]]]
--
-- With `push` the idempotency key may be empty. `report` is for gateways: the answer is then the position, and 1 if the
-- message was handed to push, otherwise 0.
local function publish(keys, args)
  local message, idempotency_key = args[1], args[2]
  local wants_push, reports = args[3] ~= nil, args[4] ~= nil
  if wants_push and idempotency_key == '' then
    idempotency_key = nil
  end
  if #keys == 0 then
    return refuse('name at least one channel')
  elseif #keys > MAX_CHANNELS then
    return refuse(string.format('name at most %d channels', MAX_CHANNELS))
  elseif #args < 1 or #args > 4 or wants_push and args[3] ~= 'push' or reports and args[4] ~= 'report' then
    return refuse('expected a message, an optional idempotency key, and an optional push')
  elseif wants_push and #keys > 1 then
    return refuse('push is only for one channel of a user')
  elseif idempotency_key == 'push' and not wants_push then
    return refuse('push alone is no idempotency key; to push without a key, give \'\' push')
  elseif idempotency_key and (idempotency_key == '' or #idempotency_key > MAX_IDEMPOTENCY_KEY_BYTES) then
    return refuse(string.format('an idempotency key has 1 to %d bytes', MAX_IDEMPOTENCY_KEY_BYTES))
  end
  local settings, refusal = settings_of_each(keys)
  if refusal then
    return refusal
  end
  local max_depth = MAX_DEPTH
  for _, key in ipairs(keys) do
    local max_bytes = settings[key].max_payload_bytes
    if #message > max_bytes then
      return refuse(string.format('the message is %d bytes; the maximum is %.0f', #message, max_bytes))
    end
    max_depth = math.min(max_depth, settings[key].max_payload_depth)
  end
  local fault = find_fault(message, max_depth)
  if fault then
    return refuse(fault)
  end

  -- The braces put the key into the slot of the first channel, and no channel can have this name.
  local receipt = idempotency_key and keys[1] .. ':once:{' .. keys[1] .. '}:' .. idempotency_key
  -- Without the receipt, the message may have been published at the other server. Push also reads keys that may be there.
  local move = (receipt or wants_push) and slots.find_move(keys[1], not wants_push and receipt)
  if move then
    return move
  end
  local digest = receipt and redis.sha1hex(message)
  local earlier_answer = receipt and answer_to_repeat(receipt, #keys, digest, reports)
  if earlier_answer then
    return earlier_answer
  end

  local now = now_ms()
  update_incarnation(now)
  local next_positions = {}
  for _, key in ipairs(keys) do
    if not next_positions[key] then
      local next, refusal = next_position(key, now)
      if refusal then
        return refusal
      end
      next_positions[key] = next
    end
  end
  local push, refusal = nil, nil
  if wants_push then
    push, refusal = find_push(keys[1], settings[keys[1]], now)
    if push and push.is_away then
      -- The first write: if it fails, nothing is published.
      refusal = hand_to_push(push, position_of(next_positions[keys[1]]), message, settings[keys[1]], now)
    end
    if refusal then
      return refusal
    end
  end

  local positions, published = {}, {}
  for at, key in ipairs(keys) do
    published[key] = published[key] or append(key, next_positions[key], message, settings[key])
    positions[at] = published[key]
  end
  if receipt then
    local text = table.concat(positions, ' ') .. '#' .. digest .. (push and push.is_away and '!' or '')
    redis.call('SET', receipt, text, 'PX', settings[keys[1]].idempotency_window_ms)
  end
  return reports and { positions[1], push.is_away and 1 or 0 } or answer(positions)
end

redis.register_function('gateway_publish', publish)
