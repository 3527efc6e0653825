if redis.replicate_commands then redis.replicate_commands() end  -- 6.2: effects, not the script

-- Milliseconds of Redis' clock, or of the test clock when one is given.
local function clock(given)
  if given ~= '' then return tonumber(given) end
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local WINDOW_MS = 60000

-- Level of a leaky bucket now: what was poured in minus what drained at limit per minute.
local function bucket_level(key, limit, now)
  local value = redis.call('GET', key)
  if not value then return 0 end
  local level, at = string.match(value, '^(.-):(.*)$')
  return math.max(0, tonumber(level) - math.max(0, now - tonumber(at)) * limit / WINDOW_MS)
end

local function bucket_write(key, level, now)
  redis.call('SET', key, string.format('%.17g:%.17g', level, now), 'PX', 2 * WINDOW_MS)
end

local function add(key, amount)
  return redis.call('INCRBY', key, string.format('%.0f', amount))
end

-- Take an entry out of its queue and out of the queue's byte count.
local function drop_entry(entry)
  redis.call('XACK', entry.queue, entry.group, entry.sid)
  if redis.call('XDEL', entry.queue, entry.sid) == 1 then
    local left = add(entry.qbytes, -entry.bytes)
    if left < 0 then redis.call('DEL', entry.qbytes) end
  end
end

-- Budgets: of tokens, and of money in millionths. What a request holds of one; old rules do not say.
local function is_budget(rule) return rule[1] == 'budget' or rule[1] == 'money' end
local function hold_of(rule, reserve) return rule[6] or reserve end

-- Price of the tokens in millionths, rounded half up as in the usage row.
local function cost_of(counts, bill)
  local total = (counts[1] - counts[2]) * (bill.input_micros or 0)
    + counts[2] * (bill.cached_micros or 0) + counts[3] * (bill.output_micros or 0)
  return math.floor((total + 500000) / 1000000)
end

-- End a ledger entry: refund what was held and not used, free the slot, write the usage event.
-- counts is {prompt, cached, completion, queue ms, first token ms, total ms}. Returns 1, or 0 when
-- another terminal was first.
local function settle(open, usage, rid, entry, now, finish, counts, engine, err)
  if redis.call('HDEL', open, rid) == 0 then return 0 end
  local used = counts[1] + counts[3]
  for _, rule in ipairs(entry.rules) do
    local kind, key, key2, limit = rule[1], rule[2], rule[3], rule[4]
    if kind == 'tpm' then
      local level = bucket_level(key, limit, now)
      bucket_write(key, math.max(0, level - entry.reserve + used), now)
    elseif kind == 'slots' then
      redis.call('ZREM', key, rid)
    elseif is_budget(rule) then
      add(key, kind == 'money' and cost_of(counts, entry.bill) or used)
      if (rule[5] or 0) > 0 then redis.call('PEXPIRE', key, rule[5]) end
      if add(key2, -hold_of(rule, entry.reserve)) <= 0 then redis.call('DEL', key2) end
    end
  end
  redis.call('XADD', usage, '*', 'e', cmsgpack.pack({
    version = 1, rid = rid, finish = finish, counts = counts, attempts = entry.attempt,
    engine = engine, error = err, ended_ms = now, bill = entry.bill,
  }))
  return 1
end
