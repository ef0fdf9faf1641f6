-- Tell the recent window of a committed write, before the write is acknowledged; or of what was read. Twice is as good as once.
-- KEYS[1]  history:{conversation}:recent
-- ARGV[1]  owner   the user whose conversation it is
-- ARGV[2]  stamp   of the conversation after the write, or as it was read; '' when there is none
-- ARGV[3]  before  its stamp before the write; '' when nothing can be extended
-- ARGV[4]  ttl     milliseconds the key lives from now
-- ARGV[5]  hard    messages kept at most
-- ARGV[6]  bytes   a window larger than this is dropped
-- ARGV[7]  first   seq of the first message below
-- ARGV[8]  human   seq of the newest human message below, 0 if none
-- ARGV[9]  servers how many follow; 0 where any server may be told, as what was read may be
-- ARGV[10..] server, era, ...  what the servers the caller means call themselves, each with the era of its windows
-- and then the write's messages, in order
-- returns  'extended', 'kept' (it has just this stamp), 'dropped' (anything else, and any lease), 'absent'; 'elsewhere' (this is
--          none of those servers, and nothing was touched)
-- Only a window of the stamp before is extended. One of a conversation that is not there has none, and a write that made the
-- conversation has none before it: it may have been deleted and found gone since, and only now its maker comes to tell.
local servers = tonumber(ARGV[9])
local said = 10 + 2 * servers
local era
if servers > 0 then
  local run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  for i = 10, said - 1, 2 do
    if ARGV[i] == run then era = ARGV[i + 1] end
  end
  if not era then
    return 'elsewhere'
  end
end
local key = KEYS[1]
local held = redis.pcall('HMGET', key, 'owner', 'era', 'stamp', 'first', 'last', 'human', 'keep', 'bytes')
if held.err then -- what is no hash is no window: the next read replaces it
  return string.find(held.err, 'WRONGTYPE', 1, true) and 'absent' or held
end
if not held[1] then
  return 'absent'
end
if held[3] == ARGV[2] and held[1] == ARGV[1] then
  redis.call('PEXPIRE', key, ARGV[4])
  return 'kept'
end
local extends = said <= #ARGV and ARGV[3] ~= '' and held[3] == ARGV[3] and held[1] == ARGV[1]
if not extends or held[2] ~= era or held[5] + 1 ~= tonumber(ARGV[7]) then
  redis.call('DEL', key)
  return 'dropped'
end
local first, last, bytes = tonumber(held[4]), tonumber(held[5]), tonumber(held[8])
local human = math.max(tonumber(held[6]), tonumber(ARGV[8]))
redis.call('PEXPIRE', key, ARGV[4])
for i = said, #ARGV do
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
redis.call('HSET', key, 'stamp', ARGV[2], 'first', from, 'last', last, 'human', human, 'bytes', bytes)
return 'extended'
