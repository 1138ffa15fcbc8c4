
-- The slots of a Redis Cluster: which slot a key is in, and a hash tag for each slot.
--
-- The same as src/broker/redis/cluster/slot.rs. A test compares both for all slots.
do
  local COUNT = 16384
  -- The tag of this slot has only the character `@`.
  local TAG_BASE = 0x3639
  -- For each bit of a slot: the change of a tag's nibbles that changes exactly this bit of the checksum. CRC16 is linear,
  -- so the changes add up with XOR.
  local TAG_BASIS = {
    0x88d4, 0x808a, 0x9007, 0x9efb, 0x19a2, 0x0c93, 0x1184, 0x8eed, 0x1efb, 0x8022, 0x89c4, 0x82aa, 0x9447, 0x967b,
  }

  -- The changes of the high and of the low byte of a CRC-16/XMODEM, by the next byte. Two tables are faster than shifts.
  -- They can only be computed inside a call.
  local HIGH, LOW = nil, nil

  local function compute_tables()
    HIGH, LOW = {}, {}
    for byte = 0, 255 do
      local crc = byte * 256
      for _ = 1, 8 do
        crc = crc < 0x8000 and crc * 2 or bit.bxor(crc * 2 - 0x10000, 0x1021)
      end
      HIGH[byte], LOW[byte] = math.floor(crc / 256), crc % 256
    end
  end

  -- The slot of a text without a hash tag.
  local function slot_of(text)
    if not HIGH then
      compute_tables()
    end
    local bxor, byte, high, low = bit.bxor, string.byte, 0, 0
    for at = 1, #text do
      local index = bxor(high, byte(text, at))
      high, low = bxor(low, HIGH[index]), LOW[index]
    end
    return (high * 256 + low) % COUNT
  end

  -- Four characters that are in this slot.
  function slots.tag(slot)
    local bits, mask = bit.bxor(slot, TAG_BASE), 0
    for at = 1, #TAG_BASIS do
      if bit.band(bits, bit.lshift(1, at - 1)) ~= 0 then
        mask = bit.bxor(mask, TAG_BASIS[at])
      end
    end
    local characters = {}
    for at = 0, 3 do
      characters[at + 1] = 0x40 + bit.band(bit.rshift(mask, 4 * at), 15)
    end
    return string.char(unpack(characters))
  end

  -- The tags of slots, and the settings' keys of keys, because computing one takes several microseconds.
  local tags, settings_keys, settings_key_count = {}, {}, 0
  local MAX_SETTINGS_KEYS = 10000

  -- The slot of a key.
  function slots.of(key)
    -- The hash tag: the text between the first brace and the next closing one, if it is not empty.
    local tag = string.match(key, '^[^{]*{([^}]+)}')
    return slot_of(tag or key)
  end

  local BRACE = 123

  -- Whether the channels of a prefix are spread over the slots. `name` begins with the prefix. A prefix in braces is the
  -- hash tag of all its keys, so they share one slot.
  function slots.are_used_by(name)
    return CLUSTER and string.byte(name) ~= BRACE
  end

  -- The command that publishes on a channel with this name.
  function slots.publish_command(name)
    return slots.are_used_by(name) and 'SPUBLISH' or 'PUBLISH'
  end

  -- The key of the settings for the data of a prefix at `key`.
  function slots.settings_key(prefix, key)
    if not slots.are_used_by(prefix) then
      return prefix .. ':settings'
    end
    local known = settings_keys[key]
    if known then
      return known
    end
    local slot = slots.of(key)
    local tag = tags[slot] or slots.tag(slot)
    tags[slot] = tag
    if settings_key_count >= MAX_SETTINGS_KEYS then
      settings_keys, settings_key_count = {}, 0
    end
    local found = prefix .. ':settings:{' .. tag .. '}'
    settings_keys[key], settings_key_count = found, settings_key_count + 1
    return found
  end

  -- Two keys in the slot of `key` that never exist. One that does would have to be a receipt.
  local function absent_keys(key)
    local beginning = key .. ':absent:{' .. key .. '}:'
    return beginning .. '1', beginning .. '2'
  end

  -- An error while the slot of `key` is being moved to another server. Some of its keys are not here then, and a command
  -- on one of those fails in the middle of a function. Redis refuses such a command with two missing keys at both servers.
  function slots.find_move(key)
    if not CLUSTER then
      return nil
    end
    local first, second = absent_keys(key)
    local found = redis.pcall('EXISTS', first, second)
    if type(found) ~= 'table' or not redis.acl_check_cmd('EXISTS', first, second) then
      return nil
    end
    return redis.error_reply('TRYAGAIN gateway: the slot of ' .. key .. ' is being moved')
  end

  -- The function, which does nothing while the slot of its first key is being moved. It costs nothing without a cluster.
  function slots.guard(callback)
    if not CLUSTER then
      return callback
    end
    return function(keys, args)
      local moving = keys[1] and slots.find_move(keys[1])
      return moving or callback(keys, args)
    end
  end
end
