#!lua name=gateway

-- Durable publishing. The gateway loads this into Redis; any backend calls it:
--
--   FCALL gateway_publish 1 gateway:user:42 '{"content":"hi"}' [idempotency key]
--
-- appends the message to the history of each named channel and publishes it there, in one atomic step, and
-- returns its position: text for one channel, a list for several. A history is a stream at the channel's own
-- name. Its entries are named <epoch>-<offset>: the offset counts 1, 2, 3 ... without a hole, the epoch is the
-- time in milliseconds at which that counting began.
--
-- Redis does not undo what a function has done before an error. So everything that can fail is asked first.

local VERSION = 1

-- The settings of the gateway that loaded this.
local HISTORY_SIZE = '$history_size'
local HISTORY_TTL_MS = '$history_ttl_ms'
local ONCE_MS = '$idempotency_window_ms'
local MAX_BYTES = $max_payload_bytes

-- A prefix of 64 bytes, a colon and a channel's name of 255.
local MAX_KEY_BYTES = 320
local MAX_ONCE_BYTES = 255
-- Above this a Lua number does not hold every integer.
local MAX_NUMBER = 2 ^ 53 - 1
-- What is run on every channel, and may be refused.
local WRITES = { 'XADD', 'PEXPIRE', 'PUBLISH' }
-- How often to look whether this server was demoted and promoted again.
local LOOK_EVERY_MS = 1000

-- What follows lives as long as this library in this process: a restart, a full resynchronisation and FUNCTION
-- LOAD begin anew. An epoch from before may have lost its end (with the end of the append-only file, or in a
-- failover), and the offsets it has lost must not be given out again. So only epochs that were begun here,
-- from `incarnation` to `last_epoch`, are continued.
local incarnation = nil
local last_epoch = 0
-- The channels whose history began at `last_epoch`, and how many: none of them may begin there again.
local begun, begun_count = {}, 0
local MAX_BEGUN = 1000
-- Names the server's life as a primary.
local replication_id, looked_ms = nil, 0

local function refuse(text)
  return redis.error_reply('ERR gateway: ' .. text)
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A server that was a replica in between may have been handed a history without its end, though this library
-- was never loaded anew. Its replication id tells. A user who may not run INFO does without.
local function notice_new_life(now)
  if incarnation and now >= looked_ms and now - looked_ms < LOOK_EVERY_MS then
    return
  end
  looked_ms = now
  local info = redis.pcall('INFO', 'replication')
  local found = type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or replication_id
  if not incarnation or found ~= replication_id then
    incarnation = math.max(now, last_epoch + 1)
    replication_id = found
  end
end

-- A channel never begins at one epoch twice, also when its history was deleted a moment ago or the clock was
-- set back. Different channels may share an epoch, so that epochs do not run ahead of the clock.
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

-- `<prefix>:all` or `<prefix>:<namespace>:<name>`, as the gateway reads it. The library serves every prefix.
local function is_channel(key)
  local has_name = string.find(key, '^[^:]+:.*[^:]+:.+$') or string.find(key, '^.+:all$')
  return has_name and not string.find(key, '[^!-~]') and not string.find(key, '[{}]')
end

-- Where the next message of `key` goes, or an error. Nothing is written.
local function next_place(key, now)
  if #key > MAX_KEY_BYTES or not is_channel(key) then
    return nil, refuse('the key must be <prefix>:all or <prefix>:<namespace>:<name>')
  end
  for _, command in ipairs(WRITES) do
    if not redis.acl_check_cmd(command, key, '1', '1', '1') then
      return nil, redis.error_reply('NOPERM gateway: this user may not run ' .. command .. ' on ' .. key)
    end
  end
  if redis.call('EXISTS', key) == 0 then
    return { epoch = begin_epoch(key, now), offset = 1 }
  end
  -- Not the last entry but the last id: entries may have been deleted, and their ids are taken.
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
  if epoch >= incarnation and epoch <= last_epoch then
    return { epoch = epoch, offset = offset + 1 }
  end
  return { epoch = begin_epoch(key, math.max(now, epoch + 1)), offset = 1, after = last }
end

local function append(key, place, message)
  local position = string.format('%.0f-%.0f', place.epoch, place.offset)
  if place.after then
    -- So that a reader can prove that nothing is missing between the two epochs.
    redis.call('XADD', key, 'MAXLEN', '~', HISTORY_SIZE, position, 'm', message, 'a', place.after)
  else
    redis.call('XADD', key, 'MAXLEN', '~', HISTORY_SIZE, position, 'm', message)
  end
  redis.call('PEXPIRE', key, HISTORY_TTL_MS)
  redis.call('PUBLISH', key, '@' .. position .. ' ' .. message)
  return position
end

local function answer(positions)
  if #positions == 1 then
    return positions[1]
  end
  return positions
end

-- What was answered when this idempotency key was first used; nil when it was not.
local function answer_before(receipt, channels)
  for _, command in ipairs({ 'GET', 'SET' }) do
    if not redis.acl_check_cmd(command, receipt, '1') then
      return redis.error_reply('NOPERM gateway: this user may not run ' .. command .. ' on ' .. receipt)
    end
  end
  local before = redis.call('GET', receipt)
  if not before then
    return nil
  end
  local positions = {}
  for position in string.gmatch(before, '%S+') do
    positions[#positions + 1] = position
  end
  if #positions ~= channels then
    return refuse('this idempotency key was used with other channels')
  end
  return answer(positions)
end

local function publish(keys, args)
  local message, once = args[1], args[2]
  if #keys == 0 then
    return refuse('name at least one channel')
  elseif #args < 1 or #args > 2 then
    return refuse('give a message and, if you like, an idempotency key')
  elseif #message > MAX_BYTES then
    return refuse(string.format('the message has %d bytes, more than %d', #message, MAX_BYTES))
  elseif once and (once == '' or #once > MAX_ONCE_BYTES) then
    return refuse(string.format('an idempotency key has 1 to %d bytes', MAX_ONCE_BYTES))
  elseif not pcall(cjson.decode, message) then
    -- This keeps most mistakes out and tells their publisher. The gateway's own reading is the exact one.
    return refuse('the message is not valid JSON')
  end

  -- The braces keep it on the first channel's node of a cluster, and no channel can have such a name.
  local receipt = once and keys[1] .. ':once:{' .. keys[1] .. '}:' .. once
  local before = receipt and answer_before(receipt, #keys)
  if before then
    return before
  end

  local now = now_ms()
  notice_new_life(now)
  local places = {}
  for _, key in ipairs(keys) do
    if not places[key] then
      local place, refusal = next_place(key, now)
      if refusal then
        return refusal
      end
      places[key] = place
    end
  end

  local positions, published = {}, {}
  for at, key in ipairs(keys) do
    published[key] = published[key] or append(key, places[key], message)
    positions[at] = published[key]
  end
  if receipt then
    redis.call('SET', receipt, table.concat(positions, ' '), 'PX', ONCE_MS)
  end
  return answer(positions)
end

redis.register_function('gateway_publish', publish)
