-- Raise the epochs of keys, never lower one: two publishers may race.
-- KEYS[1]  pgd:keys:epoch (hash: public id -> epoch)
-- ARGV     public id, epoch, public id, epoch, …
-- Returns the number of epochs raised.
local raised = 0
for i = 1, #ARGV, 2 do
  local known = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '0')
  if tonumber(ARGV[i + 1]) > known then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    raised = raised + 1
  end
end
return raised
