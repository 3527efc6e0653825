-- include: common
-- The web process no longer wants an answer. Safe to repeat.
-- KEYS  1 ledger   2 usage stream
-- ARGV  1 rid   2 prefix of control streams   3 packed Control (abort)   4 finish   5 error class
--       6 test clock
-- Returns 'ENDED' (it was waiting or lost and has ended here), 'TOLD' (its engine will end it with
-- the true counts) or 'GONE' (it had ended before, or never was).
local rid, finish = ARGV[1], ARGV[4]
local now = clock(ARGV[6])

local packed = redis.call('HGET', KEYS[1], rid)
if not packed then return 'GONE' end
local entry = cmsgpack.unpack(packed)
if entry.state == 'lost' then
  settle(KEYS[1], KEYS[2], rid, entry, now, finish, entry.counts, entry.engine, ARGV[5])
  return 'ENDED'
end
local pending = redis.pcall('XPENDING', entry.queue, entry.group, entry.sid, entry.sid, 1)
if pending.err or #pending == 0 then  -- no engine has read it (or none ever came)
  drop_entry(entry)
  settle(KEYS[1], KEYS[2], rid, entry, now, finish, {0, 0, 0, 0, 0, 0}, '', ARGV[5])
  return 'ENDED'
end
local control = ARGV[2] .. pending[1][2]
redis.call('XADD', control, 'MAXLEN', '~', 10000, '*', 'm', ARGV[3])
redis.call('EXPIRE', control, 3600)  -- the owner may be dead already; then the judge uses the mark
entry.cancel = finish
redis.call('HSET', KEYS[1], rid, cmsgpack.pack(entry))
return 'TOLD'
