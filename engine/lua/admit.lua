-- include: common
-- Admit one request and put it into its queue, or change nothing.
-- KEYS  1 ledger  2 usage stream  3 queue  4 guard  5 key epochs  6 catalog epoch  7 data epoch
--       8 queue byte counter   9 set of budget holds
-- ARGV  1 MessagePack map (engine.scripts.AdmitArgs): rid, attempt, web, key_id, key_epoch,
--         catalog_epoch, epoch, rules {kind, key, key2, limit, life ms, hold}, reserve, deadline, group,
--         queue_entries, queue_bytes, usage_entries
--       2 packed QueueBody   3 packed Bill   4 test clock
-- Returns {'OK', stream id, now ms, then for each rule: what is left, ms until it is whole again}
--   | {'STALE', 'key' | 'catalog'} | {'STALE', 'epoch', the epoch now}
--   | {'LIMIT', rule number, retry ms}
--   | {'TOO_LARGE', rule number} | {'BUSY', 'queue' | 'usage'}
local open, usage, queue, guard = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local a = cmsgpack.unpack(ARGV[1])
local body, bill = ARGV[2], ARGV[3]
local now = clock(ARGV[4])

-- Whole units only leave this script: Lua numbers are cut to integers in replies.
local function left()
  local out = {}
  for _, rule in ipairs(a.rules) do
    local kind, key, key2, limit = rule[1], rule[2], rule[3], rule[4]
    if kind == 'rpm' or kind == 'tpm' then
      local level = bucket_level(key, limit, now)
      out[#out + 1] = math.floor(math.max(0, limit - level))
      out[#out + 1] = limit > 0 and math.ceil(level * WINDOW_MS / limit) or WINDOW_MS
    elseif kind == 'slots' then
      out[#out + 1] = math.max(0, limit - redis.call('ZCOUNT', key, '(' .. now, '+inf'))
      out[#out + 1] = 0
    else
      local spent = tonumber(redis.call('GET', key) or '0')
      local held = tonumber(redis.call('GET', key2) or '0')
      out[#out + 1] = math.max(0, limit - spent - held)
      out[#out + 1] = 0
    end
  end
  return out
end

local function ok(sid)
  local reply = {'OK', sid, now}
  for _, figure in ipairs(left()) do reply[#reply + 1] = figure end
  return reply
end

local known = redis.call('GET', guard)
if known then return ok(known) end  -- the same call again: its reply was lost on the way

local epoch = redis.call('GET', KEYS[7]) or ''
if epoch ~= a.epoch then return {'STALE', 'epoch', epoch} end
local of_key, of_all = unpack(redis.call('HMGET', KEYS[5], a.key_id, '*'))
if a.key_epoch < math.max(tonumber(of_key or 0), tonumber(of_all or 0)) then
  return {'STALE', 'key'}
end
if a.catalog_epoch < tonumber(redis.call('GET', KEYS[6]) or '0') then
  return {'STALE', 'catalog'}
end

for number, rule in ipairs(a.rules) do
  local kind, key, key2, limit = rule[1], rule[2], rule[3], rule[4]
  if kind == 'rpm' or kind == 'tpm' then
    local cost = kind == 'rpm' and 1 or a.reserve
    if kind == 'tpm' and cost > limit then return {'TOO_LARGE', number} end
    if limit <= 0 then return {'LIMIT', number, WINDOW_MS} end
    local over = bucket_level(key, limit, now) + cost - limit
    if over > 0 then return {'LIMIT', number, math.ceil(over * WINDOW_MS / limit)} end
  elseif kind == 'slots' then
    if redis.call('ZCOUNT', key, '(' .. now, '+inf') >= limit then return {'LIMIT', number, 1000} end
  elseif is_budget(rule) then
    local hold = hold_of(rule, a.reserve)
    if hold > limit then return {'TOO_LARGE', number} end
    local spent = tonumber(redis.call('GET', key) or '0')
    local held = tonumber(redis.call('GET', key2) or '0')
    if spent + held + hold > limit then return {'LIMIT', number, 0} end
  else
    return redis.error_reply('unknown kind of limit: ' .. tostring(kind))
  end
end

local waiting = redis.call('XLEN', queue)
local bytes = waiting == 0 and 0 or tonumber(redis.call('GET', KEYS[8]) or '0')
if waiting >= a.queue_entries or bytes + #body > a.queue_bytes then return {'BUSY', 'queue'} end
if redis.call('XLEN', usage) >= a.usage_entries then return {'BUSY', 'usage'} end

for _, rule in ipairs(a.rules) do
  local kind, key, key2, limit = rule[1], rule[2], rule[3], rule[4]
  if kind == 'rpm' or kind == 'tpm' then
    bucket_write(key, bucket_level(key, limit, now) + (kind == 'rpm' and 1 or a.reserve), now)
  elseif kind == 'slots' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    redis.call('ZADD', key, a.deadline, a.rid)
    local life = math.max(redis.call('PTTL', key), a.deadline - now + WINDOW_MS)
    redis.call('PEXPIRE', key, life)
  else
    add(key2, hold_of(rule, a.reserve))
    redis.call('SADD', KEYS[9], key2)
  end
end
local sid = redis.call('XADD', queue, '*', 'rid', a.rid, 'attempt', a.attempt, 'web', a.web,
  'body', body, 'bill', bill)
redis.call('SET', KEYS[8], string.format('%.0f', bytes + #body))
redis.call('HSET', open, a.rid, cmsgpack.pack({
  attempt = a.attempt, state = 'queued', queue = queue, group = a.group, sid = sid,
  qbytes = KEYS[8], bytes = #body, web = a.web, deadline = a.deadline, admitted = now,
  reserve = a.reserve, rules = a.rules, bill = cmsgpack.unpack(bill), deaths = 0, cancel = '',
  counts = {0, 0, 0, 0, 0, 0}, engine = '',
}))
redis.call('SET', guard, sid, 'PX', math.max(a.deadline - now, 0) + WINDOW_MS)
return ok(sid)
