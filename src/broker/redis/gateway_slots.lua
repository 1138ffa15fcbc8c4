
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

  -- Small tables for what every publication computes. A cache of keys would be slower: Lua's garbage collection visits each
  -- entry again and again. They can only be filled inside a call.
  local HIGH, LOW, LOW_BITS, HIGH_BITS, CHARACTERS = nil, {}, {}, {}, {}

  -- The changes of a tag for 7 bits of a slot, of which the first is `first_bit`.
  local function changes_of(bits, first_bit)
    local mask = 0
    for at = 0, 6 do
      if bit.band(bits, bit.lshift(1, at)) ~= 0 then
        mask = bit.bxor(mask, TAG_BASIS[first_bit + at + 1])
      end
    end
    return mask
  end

  local function fill_tables()
    HIGH = {}
    for byte = 0, 255 do
      -- The changes of both bytes of a CRC-16/XMODEM by the next byte.
      local crc = byte * 256
      for _ = 1, 8 do
        crc = crc < 0x8000 and crc * 2 or bit.bxor(crc * 2 - 0x10000, 0x1021)
      end
      HIGH[byte], LOW[byte] = math.floor(crc / 256), crc % 256
      CHARACTERS[byte] = string.char(0x40 + byte % 16, 0x40 + math.floor(byte / 16))
    end
    for bits = 0, 127 do
      LOW_BITS[bits], HIGH_BITS[bits] = changes_of(bits, 0), changes_of(bits, 7)
    end
  end

  -- Four characters that are in this slot.
  function slots.tag(slot)
    if not HIGH then
      fill_tables()
    end
    local bits = bit.bxor(slot, TAG_BASE)
    local mask = bit.bxor(LOW_BITS[bits % 128], HIGH_BITS[(bits - bits % 128) / 128])
    return CHARACTERS[mask % 256] .. CHARACTERS[(mask - mask % 256) / 256]
  end

  -- The slot of a key.
  function slots.of(key)
    if not HIGH then
      fill_tables()
    end
    -- The hash tag: the text between the first brace and the next closing one, if it is not empty.
    local text = string.match(key, '^[^{]*{([^}]+)}') or key
    local bxor, byte, high, low = bit.bxor, string.byte, 0, 0
    for at = 1, #text do
      local index = bxor(high, byte(text, at))
      high, low = bxor(low, HIGH[index]), LOW[index]
    end
    return (high * 256 + low) % COUNT
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
    return prefix .. ':settings:{' .. slots.tag(slots.of(key)) .. '}'
  end

  -- An error while the slot of `key` is being moved to another server, unless both keys are here. Other keys may not be
  -- here then, and a command on a missing one fails in the middle of a function. Redis refuses one command on a key that
  -- is here and one that is not, at both servers. `other`: a key in the same slot; by default one that never exists.
  function slots.find_move(key, other)
    if not CLUSTER then
      return nil
    end
    other = other or key .. ':absent:{' .. key .. '}'
    local found = redis.pcall('EXISTS', key, other)
    if type(found) ~= 'table' or not redis.acl_check_cmd('EXISTS', key, other) then
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
