
-- Control: commands to every replica. Backends and gateways call gateway_control; only gateways call gateway_answer. All
-- keys share one slot of a cluster:
--
--   commands         a stream: each command as JSON, and the id of the command before it (`after`)
--   questions        a stream: the latest commands that change nothing (`sessions`)
--   revoked          a sorted set: each revocation, and when its tokens have expired, in Unix milliseconds
--   answers:<id>     a stream: the answers to one command
--
-- A replica that was cut off reads the commands that it missed. `after` shows it whether one was trimmed. Nobody waits for
-- the answer to an old question, so questions push no command out of its stream, and no replica reads an old one.

local MAX_COMMAND_BYTES = 4096
local MAX_COMMANDS = '10000'
local MAX_QUESTIONS = '64'
-- The number in the id of a question begins here, so that its answers are never those to a command.
local FIRST_QUESTION = 1000000000
local MAX_REVOCATIONS = 100000
-- An earlier time is one in seconds: in milliseconds it would be in 1973.
local MIN_TIME_MS = 100000000000
local MAX_TIME_MS = 999999999999999
-- The clocks of backends are not exact.
local MAX_CLOCK_LEAD_MS = 60000
local MAX_DETAIL_BYTES = 1048576
local ANSWERS_TTL_MS = '60000'

-- A value of a user, a channel or a session that may exist.
local function is_name(value, longest)
  return type(value) == 'string' and #value > 0 and #value <= longest and not string.find(value, '[^!-z|~]')
end

local function is_channel(value)
  return is_name(value, 255) and (value == 'all' or string.find(value, '^[^:]+:.') ~= nil)
end

local function is_session_id(value)
  return type(value) == 'string' and #value == 32 and not string.find(value, '[^0-9a-f]')
end

local function is_whole(value, least, most)
  return type(value) == 'number' and value >= least and value <= most and value % 1 == 0
end

local function is_time(value)
  return is_whole(value, 0, MAX_TIME_MS)
end

-- The same rules as in src/broker/control/check.rs.
local FIELDS = {
  user = function(value)
    return is_name(value, 250)
  end,
  session = is_session_id,
  channel = is_channel,
  reason = function(value)
    return type(value) == 'string' and #value <= 123
  end,
  jti = function(value)
    return type(value) == 'string' and #value > 0 and #value <= 255 and not string.find(value, '[%z\1-\31\127]')
  end,
  issued_before = is_time,
  ['until'] = is_time,
  after = is_session_id,
  limit = function(value)
    return is_whole(value, 1, 1000)
  end,
}

-- The fields of each command in their order, and those of which exactly one must be there.
local COMMANDS = {
  disconnect = { fields = { 'user', 'session', 'channel', 'reason' }, one_of = { 'user', 'session', 'channel' } },
  subscribe = { fields = { 'user', 'session', 'channel' }, one_of = { 'user', 'session' }, needs = 'channel' },
  unsubscribe = { fields = { 'user', 'session', 'channel' }, one_of = { 'user', 'session' }, needs = 'channel' },
  revoke = { fields = { 'jti', 'user', 'issued_before', 'until' }, one_of = { 'jti', 'user' } },
  sessions = { fields = { 'user', 'channel', 'after', 'limit' } },
}

-- Returns why these are not the fields of a command, or nil.
local function find_bad_field(command, fields)
  local known, chosen = {}, 0
  for _, field in ipairs(command.fields) do
    known[field] = true
  end
  for field, value in pairs(fields) do
    if not known[field] then
      return 'it has an unknown field'
    elseif not FIELDS[field](value) then
      return field .. ' is not valid'
    end
  end
  for _, field in ipairs(command.one_of or {}) do
    chosen = chosen + (fields[field] ~= nil and 1 or 0)
  end
  if command.one_of and chosen ~= 1 then
    return 'it needs exactly one of ' .. table.concat(command.one_of, ', ')
  elseif command.needs and fields[command.needs] == nil then
    return 'it needs ' .. command.needs
  elseif fields.jti and fields.issued_before then
    return 'issued_before needs user'
  end
end

-- The name and the fields of a command, or why it is none.
local function parse_command(text)
  if #text > MAX_COMMAND_BYTES then
    return nil, nil, string.format('it has %d bytes; the maximum is %d', #text, MAX_COMMAND_BYTES)
  end
  local fault = find_fault(text, 8)
  if fault then
    return nil, nil, fault
  end
  local found = cjson.decode(text)
  local name = type(found) == 'table' and next(found) or nil
  local command = COMMANDS[name]
  if not command or next(found, name) ~= nil or type(found[name]) ~= 'table' then
    return nil, nil, 'it needs one of disconnect, subscribe, unsubscribe, revoke and sessions, with its fields'
  end
  local bad = find_bad_field(command, found[name])
  return name, found[name], bad and name .. ': ' .. bad
end

-- The text of a command for the replicas. They read exactly what was checked here, whatever a parser makes of a repeated
-- field.
local function text_of_command(name, fields)
  local members = {}
  for _, field in ipairs(COMMANDS[name].fields) do
    local value = fields[field]
    if value ~= nil then
      local text = type(value) == 'number' and string.format('%.0f', value) or cjson.encode(value)
      members[#members + 1] = '"' .. field .. '":' .. text
    end
  end
  return '{"' .. name .. '":{' .. table.concat(members, ',') .. '}}'
end

-- The first right that this user lacks.
local function missing_right_of(rights)
  for _, right in ipairs(rights) do
    if not redis.acl_check_cmd(unpack(right)) then
      return redis.error_reply('NOPERM gateway: this user may not run ' .. right[1] .. ' on ' .. right[2])
    end
  end
end

-- Returns why these times of a revocation are refused, or nil. The same rules as in src/broker/control/check.rs.
local function find_bad_time(issued_before, ends, now)
  if issued_before and issued_before < MIN_TIME_MS then
    return 'issued_before is too early; times are in Unix milliseconds'
  elseif ends and ends < MIN_TIME_MS then
    return 'until is too early; times are in Unix milliseconds'
  elseif ends and ends <= now then
    return 'until is in the past; times are in Unix milliseconds'
  elseif issued_before and issued_before > now + MAX_CLOCK_LEAD_MS then
    return 'issued_before is in the future; it would refuse tokens that are not minted yet'
  end
end

-- Checks the times of a revocation and adds those that it leaves out, or returns an error. Writes nothing.
local function complete_revocation(prefix, commands, fields, now)
  local bad = find_bad_time(fields.issued_before, fields['until'], now)
  if bad then
    return refuse('the command is not valid: revoke: ' .. bad)
  end
  if fields.user then
    fields.issued_before = fields.issued_before or now
  end
  if not fields['until'] then
    local settings, refusal = settings_of(prefix, commands)
    if refusal then
      return refusal
    end
    fields['until'] = now + settings.revocation_ttl_ms
  end
end

-- Stores a revocation, or returns an error.
local function store_revocation(revoked, fields, now)
  local member = 'jti:' .. (fields.jti or '')
  if fields.user then
    member = 'user:' .. string.format('%.0f', fields.issued_before) .. ':' .. fields.user
  end
  redis.call('ZREMRANGEBYSCORE', revoked, '-inf', string.format('%.0f', now))
  if redis.call('ZCARD', revoked) >= MAX_REVOCATIONS then
    return refuse(string.format('there are %d revocations already', MAX_REVOCATIONS))
  end
  redis.call('ZADD', revoked, 'GT', string.format('%.0f', fields['until']), member)
end

-- The last id of a stream, also that of a trimmed entry; or an error.
local function last_id(key)
  if redis.call('EXISTS', key) == 0 then
    return '0-0'
  end
  local stream = redis.pcall('XINFO', 'STREAM', key)
  if stream.err then
    return nil, stream
  end
  for at = 1, #stream, 2 do
    if stream[at] == 'last-generated-id' then
      return stream[at + 1]
    end
  end
end

-- The id of a question after the one with the id `last`.
local function next_question(last, now)
  local ms, number = string.match(last, '^(%d+)-(%d+)$')
  if now > tonumber(ms) then
    return string.format('%.0f-%.0f', now, FIRST_QUESTION)
  end
  return string.format('%s-%.0f', ms, tonumber(number) + 1)
end

-- Sends a command, which is kept for the replicas that are cut off. Returns its id, an error, and the number of receivers.
local function send_command(commands, revoked, prefix, name, fields)
  local after, wrong = last_id(commands)
  if wrong then
    return nil, wrong
  end
  if name == 'revoke' then
    local now = now_ms()
    local refusal = complete_revocation(prefix, commands, fields, now) or store_revocation(revoked, fields, now)
    if refusal then
      return nil, refusal
    end
  end
  local text = text_of_command(name, fields)
  local id = redis.call('XADD', commands, 'MAXLEN', '~', MAX_COMMANDS, '*', 'command', text, 'after', after)
  return id, nil, redis.call(slots.publish_command(commands), commands, id)
end

-- Sends a question. Returns the same.
local function send_question(commands, questions, name, fields)
  local last, wrong = last_id(questions)
  if wrong then
    return nil, wrong
  end
  local id = next_question(last, now_ms())
  redis.call('XADD', questions, 'MAXLEN', MAX_QUESTIONS, id, 'command', text_of_command(name, fields))
  return id, nil, redis.call(slots.publish_command(commands), commands, 'question')
end

-- FCALL gateway_control 1 <prefix>:{control}:commands <command> [count]
--
-- Sends a command to every replica. Returns its id; with `count` also the number of replicas that received it at once.
local function control(keys, args)
  local prefix, key = split_key(keys[1] or '')
  if #keys ~= 1 or key ~= '{control}:commands' or #args < 1 or #args > 2 or (args[2] and args[2] ~= 'count') then
    return refuse('expected the key <prefix>:{control}:commands and a command')
  end
  local commands, revoked, questions = keys[1], prefix .. ':{control}:revoked', prefix .. ':{control}:questions'
  local name, fields, fault = parse_command(args[1])
  if fault then
    return refuse('the command is not valid: ' .. fault)
  end
  local stream = name == 'sessions' and questions or commands
  local publish = slots.publish_command(commands)
  local rights = { { 'EXISTS', stream }, { 'XADD', stream, '*', '1', '1' }, { publish, commands, '1' } }
  if name == 'revoke' then
    rights[4] = { 'ZADD', revoked, '1', '1' }
    rights[5] = { 'ZCARD', revoked }
    rights[6] = { 'ZREMRANGEBYSCORE', revoked, '1', '1' }
  end
  local missing = missing_right_of(rights)
  if missing then
    return missing
  end
  local id, refusal, receivers
  if name == 'sessions' then
    id, refusal, receivers = send_question(commands, questions, name, fields)
  else
    id, refusal, receivers = send_command(commands, revoked, prefix, name, fields)
  end
  if refusal then
    return refusal
  end
  if args[2] then
    return { id, receivers }
  end
  return id
end

-- FCALL gateway_answer 1 <prefix>:{control}:answers:<id> <replica> <affected sessions> [<more, as JSON>]
--
-- The answer of one replica to a command.
local function answer_command(keys, args)
  local key, detail = keys[1], args[3]
  local _, answers = split_key(key or '')
  if #keys ~= 1 or not string.find(answers or '', '^{control}:answers:%d+%-%d+$') or #args < 2 or #args > 3 then
    return refuse('expected the key <prefix>:{control}:answers:<id>, a replica, a number and perhaps JSON')
  elseif #args[1] > 64 or not string.find(args[2], '^%d+$') or detail and #detail > MAX_DETAIL_BYTES then
    return refuse('this is not an answer')
  end
  local missing = missing_right_of({ { 'XADD', key, '*', '1', '1' }, { 'PEXPIRE', key, '1' } })
  if missing then
    return missing
  end
  if detail then
    redis.call('XADD', key, '*', 'replica', args[1], 'affected', args[2], 'detail', detail)
  else
    redis.call('XADD', key, '*', 'replica', args[1], 'affected', args[2])
  end
  redis.call('PEXPIRE', key, ANSWERS_TTL_MS)
  return 1
end

-- Both must work when the memory is full: what they store is bounded, and a revocation cannot wait.
redis.register_function({ function_name = 'gateway_control', callback = slots.guard(control), flags = { 'allow-oom' } })
redis.register_function({ function_name = 'gateway_answer', callback = answer_command, flags = { 'allow-oom' } })
