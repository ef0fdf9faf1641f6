-- Accept a write before PostgreSQL has it: onto a window of my era, my user and the life its caller knows, and nowhere else.
-- KEYS[1]  history:{conversation}:recent
-- KEYS[2]  history:{conversation}:journal
-- ARGV[1]  owner    the user who writes
-- ARGV[2]  life     of the conversation, as the caller read it last; '' where it never did
-- ARGV[3]  id       of the entry, another one with every write
-- ARGV[4]  ttl      milliseconds the window lives from now: it must be there as long as others write
-- ARGV[5]  entries  a journal has room for
-- ARGV[6]  bytes    it has room for
-- ARGV[7]  age      milliseconds after which nothing more is accepted if nothing was stored meanwhile; 0 for as long as it takes
-- ARGV[8]  entry    what was written
-- ARGV[9..] server, era, ...  what the servers the caller means call themselves, each with the era of its windows
-- returns  {'accepted', entries in the journal};  {'life', life}: the conversation has this one, and nothing was accepted.  Nor was it
--          with {'elsewhere'} (this is none of those servers), {'foreign'} (the window is another user's) and, each with the fields and values
--          of the journal, {'absent'} (no window of my era, one of a conversation that is not there, or one whose journal was lost), {'full'} and {'old'}
-- A command that arrives twice finds its entry; what PostgreSQL has stored meanwhile it finds by the ids of its rows.
local run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local era
for i = 9, #ARGV, 2 do
  if ARGV[i] == run then era = ARGV[i + 1] end
end
if not era then
  return {'elsewhere'}
end
local key, id, entry = KEYS[2], ARGV[3], ARGV[8]
local held = redis.pcall('HMGET', KEYS[1], 'owner', 'era', 'stamp', 'life', 'waits')
if held.err then
  if not string.find(held.err, 'WRONGTYPE', 1, true) then return held end
  held = {}
end
if held[1] and held[1] ~= ARGV[1] and held[3] then
  return {'foreign'}
end
if not held[4] or held[4] == '' or held[2] ~= era or (held[5] and redis.call('EXISTS', key) == 0) then
  return {'absent', redis.call('HGETALL', key)}
end
if held[4] ~= ARGV[2] then
  return {'life', held[4]}
end
local there = redis.call('HMGET', key, id, 'n', 'b', 'o')
local count = there[2] and redis.call('HLEN', key) - 3 or 0
if there[1] then
  return {'accepted', count}
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local number, since = (there[2] or 0) + 1, there[4] or now
entry = number .. ' ' .. entry
local bytes = (there[3] or 0) + #entry
if count >= tonumber(ARGV[5]) or bytes > tonumber(ARGV[6]) then
  return {'full', redis.call('HGETALL', key)}
end
if tonumber(ARGV[7]) > 0 and now - since > tonumber(ARGV[7]) then
  return {'old', redis.call('HGETALL', key)}
end
redis.call('HSET', key, id, entry, 'n', number, 'b', bytes, 'o', since)
if not held[5] then
  redis.call('HSET', KEYS[1], 'waits', 1) -- so that a window whose journal was lost alone is none
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {'accepted', count + 1}
