-- include: common
-- Put a lost request back into its queue as the next attempt. Nothing is debited again.
-- KEYS  1 ledger   2 guard of the new attempt
-- ARGV  1 rid   2 attempt (the new one)   3 packed QueueBody   4 packed Bill
--       5 engine deaths that are one too many   6 test clock
-- Returns {'OK', stream id} | {'GONE'} (ended, or not lost, or another attempt) | {'POISON'}
local rid, attempt, body = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local now = clock(ARGV[6])

local known = redis.call('GET', KEYS[2])
if known then return {'OK', known} end
local packed = redis.call('HGET', KEYS[1], rid)
if not packed then return {'GONE'} end
local entry = cmsgpack.unpack(packed)
if entry.state ~= 'lost' or entry.attempt ~= attempt - 1 then return {'GONE'} end
if entry.deaths >= tonumber(ARGV[5]) then return {'POISON'} end

entry.sid = redis.call('XADD', entry.queue, '*', 'rid', rid, 'attempt', attempt, 'web', entry.web,
  'body', body, 'bill', ARGV[4])
entry.attempt, entry.state, entry.bytes = attempt, 'queued', #body
entry.counts, entry.engine = {0, 0, 0, 0, 0, 0}, ''
add(entry.qbytes, #body)
redis.call('HSET', KEYS[1], rid, cmsgpack.pack(entry))
redis.call('SET', KEYS[2], entry.sid, 'PX', math.max(entry.deadline - now, 0) + 60000)
return {'OK', entry.sid}
