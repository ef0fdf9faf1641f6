-- Add to what a run has sent, and have it live on. Twice is as good as once: each frame has its number.
-- KEYS[1]  run:{conversation}
-- ARGV[1]  run       the run's own id
-- ARGV[2]  ttl       milliseconds the key lives from now
-- ARGV[3]  question  the row of what it answers; '' while that is not known
-- ARGV[4]  state     how it ended; '' while it goes on, 'cut' where it does and no more of it is kept
-- ARGV[5]  first     the number of the first frame below, from 1
-- ARGV[6..] frame, ...
-- returns  'kept'; 'stop' (kept, and somebody wants it to end); 'lost' (the key is another run's by now, or gone)
local held = redis.call('HMGET', KEYS[1], 'run', 'last', 'stop')
if held[1] ~= ARGV[1] then
  return 'lost'
end
local last = tonumber(held[2])
for i = 6, #ARGV do
  local at = ARGV[5] + i - 6
  if at > last then
    redis.call('HSET', KEYS[1], at, ARGV[i])
    last = at
  end
end
redis.call('HSET', KEYS[1], 'last', last, 'question', ARGV[3])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'state', ARGV[4])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return held[3] and 'stop' or 'kept'
