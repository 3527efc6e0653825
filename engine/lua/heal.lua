-- Make every budget hold equal to the reservations of the open requests.
-- KEYS  1 ledger   2 set of all hold keys
-- Returns how many holds were wrong.
local held = {}
for _, packed in ipairs(redis.call('HVALS', KEYS[1])) do
  local entry = cmsgpack.unpack(packed)
  for _, rule in ipairs(entry.rules) do
    if rule[1] == 'budget' or rule[1] == 'money' then
      held[rule[3]] = (held[rule[3]] or 0) + (rule[6] or entry.reserve)
    end
  end
end
local wrong = 0
for _, key in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local right = held[key] or 0
  if tonumber(redis.call('GET', key) or '0') ~= right then
    wrong = wrong + 1
    if right == 0 then redis.call('DEL', key) else redis.call('SET', key, string.format('%.0f', right)) end
  end
  if right == 0 then redis.call('SREM', KEYS[2], key) end
end
return wrong
