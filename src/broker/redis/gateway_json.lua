
-- Checks that a message is JSON by the gateway's rules, which are stricter than those of Redis' parser.

-- The library's own parser, so its settings affect no other library. It can only be created inside a call.
local json = nil

-- Patterns of the UTF-8 characters with more than one byte. The second item is a byte that each of them contains.
local CHARACTERS = {
  { '[\194-\223][\128-\191]' },
  { '[\225-\236\238\239][\128-\191][\128-\191]' },
  { '\224[\160-\191][\128-\191]', '\224' },
  { '\237[\128-\159][\128-\191]', '\237' },
  { '\240[\144-\191][\128-\191][\128-\191]', '\240' },
  { '[\241-\243][\128-\191][\128-\191][\128-\191]' },
  { '\244[\128-\143][\128-\191][\128-\191]', '\244' },
}

local function is_utf8_run(text)
  for _, character in ipairs(CHARACTERS) do
    if not character[2] or string.find(text, character[2], 1, true) then
      -- Replaced by a space and not removed, because a removal would join the bytes on both sides.
      text = string.gsub(text, character[1], ' ')
      if not string.find(text, '[\128-\255]') then
        return true
      end
    end
  end
  return false
end

-- A cache of valid runs of non-ASCII characters: most texts repeat a few short ones.
local known_runs, known_run_count = {}, 0
local MAX_RUN_BYTES = 32

local function is_utf8(text, at)
  while at <= #text do
    local run_end = string.match(text, '^[\128-\255]*()', at)
    local run = string.sub(text, at, run_end - 1)
    if not known_runs[run] then
      if run ~= '' and not is_utf8_run(run) then
        return false
      end
      if #run <= MAX_RUN_BYTES and known_run_count < MAX_KNOWN then
        known_runs[run], known_run_count = true, known_run_count + 1
      end
    end
    at = string.match(text, '^[%z\1-\127]*()', run_end)
  end
  return true
end

-- Whether the parser may have accepted a number such as `1.` or `-.5`. Checking a few points one by one is faster than
-- a pattern over the whole text.
local MAX_CHECKED_POINTS = 16
local function has_incomplete_number(text)
  local at = string.find(text, '.', 1, true)
  for _ = 1, MAX_CHECKED_POINTS do
    if not at then
      return false
    end
    local before, after = string.byte(text, at - 1) or 0, string.byte(text, at + 1) or 0
    local follows_digit = before >= 48 and before <= 57
    if before == 45 or follows_digit and not (after >= 48 and after <= 57) then
      return true
    end
    at = string.find(text, '.', at + 1, true)
  end
  return at and (string.find(text, '%d%.%D', at - 1) or string.find(text, '-.', at - 1, true))
    or string.sub(text, -1) == '.'
end

-- Whether a text that the parser accepts is JSON. The parser also accepts control characters in strings, incomplete
-- numbers, and any text after a zero byte.
local function is_strict(text)
  if string.find(text, '\\', 1, true) then
    -- Without its escapes, a string ends at the next quotation mark.
    text = string.gsub(text, '\\.', '')
  end
  -- A string with a control character is not removed.
  local bare = string.gsub(text, '"[^"%z\1-\31]*"', '')
  return not string.find(bare, '[%z\1-\8\11\12\14-\31"]') and not has_incomplete_number(bare)
end

-- Returns why the gateway would drop a message, or nil. Such messages are refused, because their publisher would not
-- notice the drop.
local function find_fault(message, max_depth)
  if not json then
    json = cjson.new()
    json.decode_invalid_numbers(false)
  end
  json.decode_max_depth(max_depth)
  local is_json, problem = pcall(json.decode, message)
  if not is_json then
    if string.find(problem, 'nested', 1, true) then
      local depth = string.format('%.0f', max_depth)
      return 'the message is nested too deeply: more than ' .. depth .. ' levels'
    end
    return 'the message is not valid JSON: ' .. problem
  end
  -- Most messages are printable ASCII and need no further check of their bytes.
  local at = string.match(message, '^[ -~]*()')
  at = at <= #message and at
  if at and not is_utf8(message, at) then
    return 'the message is not valid JSON: it is not UTF-8'
  end
  if (at and string.find(message, '%c', at) or has_incomplete_number(message)) and not is_strict(message) then
    return 'the message is not valid JSON: it has a bare control character or an incomplete number'
  end
  return nil
end
