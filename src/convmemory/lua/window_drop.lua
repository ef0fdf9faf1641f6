-- Forget the recent window and any lease, because they may have missed a write.
-- KEYS[1]  history:{conversation}:recent
-- ARGV[1..] servers  what the servers of the caches that are drained call themselves, all nodes of a cluster; none where any may be
--          meant
-- returns  'dropped'; 'elsewhere' (this is none of those servers, and nothing was touched: the mark must stay)
local run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local meant = #ARGV == 0
for i = 1, #ARGV do
  meant = meant or ARGV[i] == run
end
if not meant then
  return 'elsewhere'
end
redis.call('UNLINK', KEYS[1])
return 'dropped'
