-- Raise what is spent of budgets to what the database knows, never lower it: it may be behind.
-- KEYS  pgd:lim:spent:… and pgd:lim:paid:… (counters)
-- ARGV  for each: its sum, ms it lives (0: for ever)
-- Returns the number of counters raised.
local raised = 0
for i, key in ipairs(KEYS) do
  local sum, life = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  if sum > tonumber(redis.call('GET', key) or '0') then
    redis.call('SET', key, string.format('%.0f', sum))
    if life > 0 then redis.call('PEXPIRE', key, life) end
    raised = raised + 1
  end
end
return raised
