-- Raise the catalog's epoch, never lower it: two publishers may race.
-- KEYS[1]  pgd:catalog:epoch (counter)
-- ARGV[1]  the database's epoch
-- Returns the epoch that now stands.
local known = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) <= known then return known end
redis.call('SET', KEYS[1], ARGV[1])
return tonumber(ARGV[1])
