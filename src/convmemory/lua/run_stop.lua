-- Ask whoever has a run to end it. Twice is as good as once.
-- KEYS[1]  run:{conversation}
-- returns  1 where one is on its way; 0 where none is
local held = redis.call('HMGET', KEYS[1], 'run', 'state')
if not held[1] or (held[2] and held[2] ~= 'cut') then
  return 0
end
redis.call('HSET', KEYS[1], 'stop', 1)
return 1
