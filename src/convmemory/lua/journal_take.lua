-- Read what waits in the journal, before a write that goes to PostgreSQL. It stays until it is stored.
-- KEYS[1]  history:{conversation}:recent
-- KEYS[2]  history:{conversation}:journal
-- ARGV[1]  owner    the user who writes, or '' for whoever drains
-- ARGV[2..] server, era, ...  what the servers the caller means call themselves, each with the era of its windows; none where any may be
--          meant
-- returns  {'taken', life of a window of that era and user or '', fields and values of the journal};  {'elsewhere'}: this is none of those
--          servers, and what waits here is drained by those who mean it
local run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local era
for i = 2, #ARGV, 2 do
  if ARGV[i] == run then era = ARGV[i + 1] end
end
if #ARGV > 1 and not era then
  return {'elsewhere'}
end
local held = redis.pcall('HMGET', KEYS[1], 'owner', 'era', 'life')
if held.err then
  if not string.find(held.err, 'WRONGTYPE', 1, true) then return held end
  held = {}
end
local mine = held[1] == ARGV[1] and held[2] == era
return {'taken', mine and held[3] or '', redis.call('HGETALL', KEYS[2])}
