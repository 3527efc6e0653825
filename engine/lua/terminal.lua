-- include: common
-- End a request exactly once: the first terminal wins, a late one gets 0 and keeps quiet.
-- KEYS  1 ledger   2 usage stream   3 reply stream of the web process   4 checkpoint hash
-- ARGV  1 rid   2 attempt   3 who: 'owner' (an engine; must still own the queue entry), 'lost' (web
--         or reconciler; the ledger must say lost) or 'any' (reconciler, past the deadline)
--       4 stream id of the entry (owner only)   5 finish   6 engine   7 error class
--       8 packed Counts, empty = the ledger's checkpoint   9 packed Frame, empty = none
--       10 test clock
-- Returns 1, or 0 when this caller may not end it.
local open, usage, reply = KEYS[1], KEYS[2], KEYS[3]
local rid, attempt, who, sid = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local now = clock(ARGV[10])

local packed = redis.call('HGET', open, rid)
if not packed then return 0 end
local entry = cmsgpack.unpack(packed)
if entry.attempt ~= attempt then return 0 end
if who == 'owner' then
  if entry.sid ~= sid or entry.state ~= 'queued' then return 0 end
  if redis.call('XACK', entry.queue, entry.group, sid) ~= 1 then return 0 end
  redis.call('HDEL', KEYS[4], rid)
elseif who == 'lost' and entry.state ~= 'lost' then
  return 0
end
if entry.state == 'queued' then drop_entry(entry) end
local counts = ARGV[8] ~= '' and cmsgpack.unpack(ARGV[8]) or entry.counts
local engine = ARGV[6] ~= '' and ARGV[6] or entry.engine
local won = settle(open, usage, rid, entry, now, ARGV[5], counts, engine, ARGV[7])
if won == 1 and ARGV[9] ~= '' then
  redis.call('XADD', reply, 'MAXLEN', '~', 100000, '*', 'f', ARGV[9])
  redis.call('EXPIRE', reply, 60)  -- a dead web process renews it no more
end
return won
