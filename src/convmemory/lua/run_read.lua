-- Read what a run has sent, from a place on.
-- KEYS[1]  run:{conversation}
-- ARGV[1]  after  the number of the last frame that is known; 0 for none
-- ARGV[2]  count  how many frames at most
-- returns  nothing where no run is on its way and none just ended; else run, key, question, state ('' while more may come), the
--          number of the last frame returned, and the frames
local held = redis.call('HMGET', KEYS[1], 'run', 'key', 'question', 'state', 'last')
if not held[1] then
  return {}
end
local after, last = tonumber(ARGV[1]), tonumber(held[5])
local upto = math.min(last, after + ARGV[2])
local state = upto == last and held[4] or ''
local found = { held[1], held[2], held[3] or '', state, upto }
for at = after + 1, upto do
  found[#found + 1] = redis.call('HGET', KEYS[1], at)
end
return found
