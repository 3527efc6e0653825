-- include: common
-- Take one queue entry from a dead engine. The web process decides what becomes of it.
-- KEYS  1 ledger   2 usage stream   3 queue   4 reply stream   5 checkpoint hash of the dead engine
-- ARGV  1 rid   2 attempt   3 group   4 stream id   5 engine   6 packed Frame (lost)   7 test clock
-- Returns 'LOST', 'ENDED' (it had been cancelled) or 'GONE' (not ours to judge any more).
local rid, attempt, sid, engine = ARGV[1], tonumber(ARGV[2]), ARGV[4], ARGV[5]
local now = clock(ARGV[7])

if redis.call('XACK', KEYS[3], ARGV[3], sid) ~= 1 then return 'GONE' end
local packed = redis.call('HGET', KEYS[1], rid)
local entry = packed and cmsgpack.unpack(packed)
if not entry or entry.sid ~= sid or entry.attempt ~= attempt or entry.state ~= 'queued' then
  redis.call('XDEL', KEYS[3], sid)
  return 'GONE'
end
drop_entry(entry)
local saved = redis.call('HGET', KEYS[5], rid)
redis.call('HDEL', KEYS[5], rid)
entry.counts = saved and cmsgpack.unpack(saved) or {0, 0, 0, 0, 0, 0}
if entry.cancel ~= '' then
  settle(KEYS[1], KEYS[2], rid, entry, now, entry.cancel, entry.counts, engine, '')
  return 'ENDED'
end
entry.state, entry.deaths, entry.engine = 'lost', entry.deaths + 1, engine
redis.call('HSET', KEYS[1], rid, cmsgpack.pack(entry))
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100000, '*', 'f', ARGV[6])
redis.call('EXPIRE', KEYS[4], 60)
return 'LOST'
