-- Tell the recent window of a committed write, before the write is acknowledged. Doing it twice changes nothing.
-- KEYS[1]  history:{conversation}:recent
-- ARGV[1]  owner        the user whose conversation it is
-- ARGV[2]  incarnation  of the conversation
-- ARGV[3]  version      that the write gave it
-- ARGV[4]  ttl          milliseconds the key lives from now
-- ARGV[5]  hard         messages kept at most
-- ARGV[6]  bytes        a window larger than this is dropped
-- ARGV[7]  first        seq of the first message below
-- ARGV[8]  human        seq of the newest human message below, 0 if none
-- ARGV[9..] the write's messages, in order
-- returns  'extended', 'kept' (it is as new or newer), 'dropped' (it is older or of another life), 'absent'
-- A window of a conversation that is not there is dropped, never extended: this write may have made the conversation
-- before it was deleted and found gone, and only now have come to tell.
-- The window keeps the run it was filled under: extending what a restart brought back does not make it trusted.
local key, version = KEYS[1], tonumber(ARGV[3])
local held = redis.pcall('HMGET', key, 'owner', 'incarnation', 'version', 'first', 'last', 'human', 'keep', 'bytes')
if held.err then -- what is no hash is no window: the next read replaces it
  return string.find(held.err, 'WRONGTYPE', 1, true) and 'absent' or held
end
if not held[1] then
  return 'absent'
end
local same = held[1] == ARGV[1] and held[3] and held[2] == ARGV[2]
local behind = same and version - 1 - tonumber(held[3])
if not same or behind > 0 or (behind == 0 and held[5] + 1 ~= tonumber(ARGV[7])) then
  redis.call('DEL', key)
  return 'dropped'
end
redis.call('PEXPIRE', key, ARGV[4])
if behind < 0 then
  return 'kept'
end
local first, last, bytes = tonumber(held[4]), tonumber(held[5]), tonumber(held[8])
local human = math.max(tonumber(held[6]), tonumber(ARGV[8]))
for i = 9, #ARGV do
  last = last + 1
  redis.call('HSET', key, last, ARGV[i])
  bytes = bytes + #ARGV[i]
end
local from = last - tonumber(held[7]) + 1
if human > 0 and human < from then from = human end
from = math.max(first, last - tonumber(ARGV[5]) + 1, from)
for at = first, from - 1 do
  bytes = bytes - redis.call('HSTRLEN', key, at)
  redis.call('HDEL', key, at)
end
if bytes > tonumber(ARGV[6]) then
  redis.call('DEL', key)
  return 'dropped'
end
redis.call('HSET', key, 'incarnation', ARGV[2], 'version', version, 'first', from, 'last', last, 'human', human, 'bytes', bytes)
return 'extended'
