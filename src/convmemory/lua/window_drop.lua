-- Forget the recent window and any lease, because they may have missed a write.
-- KEYS[1]  history:{conversation}:recent
-- ARGV[1]  server  what the server of the cache that is drained calls itself; '' where any may be meant
-- returns  'dropped'; 'elsewhere' (this is another server, and nothing was touched: the mark must stay)
local run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if ARGV[1] ~= '' and ARGV[1] ~= run then
  return 'elsewhere'
end
redis.call('UNLINK', KEYS[1])
return 'dropped'
