-- Let go of entries that PostgreSQL has stored, or will never store. Twice is as good as once: an id is never given twice.
-- KEYS[1]  history:{conversation}:journal
-- ARGV[1..] ids  of the entries
-- returns  how many of them were there
-- Beside the entries lie n, the number given last, b, their bytes, and o, since when (milliseconds) nobody has let go of one; the key ends
-- with its last entry. It has no time to live: nothing else has what is in it.
local key = KEYS[1]
local bytes, gone = 0, 0
for i = 1, #ARGV do
  local size = redis.call('HSTRLEN', key, ARGV[i])
  if redis.call('HDEL', key, ARGV[i]) == 1 then
    bytes = bytes + size
    gone = gone + 1
  end
end
if gone == 0 then
  return 0
end
if redis.call('HLEN', key) <= 3 then
  redis.call('DEL', key)
else
  local clock = redis.call('TIME')
  redis.call('HINCRBY', key, 'b', -bytes)
  redis.call('HSET', key, 'o', clock[1] * 1000 + math.floor(clock[2] / 1000))
end
return gone
