-- Fill the window with what was read from PostgreSQL, or, without the lease, leave word of the version that was read.
-- KEYS[1]  history:{conversation}:recent
-- ARGV[1]  owner        the user who read
-- ARGV[2]  incarnation  of the conversation, '' when there is none yet
-- ARGV[3]  version      that was read
-- ARGV[4]  ttl          milliseconds the key lives from now
-- ARGV[5]  token        the lease taken before PostgreSQL was read; '' only tells
-- ARGV[6]  keep         newest messages to keep as the window grows
-- ARGV[7]  bytes        of the messages below
-- ARGV[8]  first        seq of the first message below
-- ARGV[9]  last         seq of the newest message of the conversation
-- ARGV[10] human        seq of its newest human message, 0 if none
-- ARGV[11..] the messages, in order
-- returns  'filled'; 'told' (an older window and any lease are gone, so nothing older is filled or served after this read);
--          'absent' (there was nothing to tell)
local key, version = KEYS[1], tonumber(ARGV[3])
local held = redis.pcall('HMGET', key, 'owner', 'incarnation', 'version', 'token', 'leased')
if held.err then -- what is no hash is no window: the next read replaces it
  return string.find(held.err, 'WRONGTYPE', 1, true) and 'absent' or held
end
if not held[1] then
  return 'absent'
end
if ARGV[5] ~= '' and held[4] == ARGV[5] and held[1] == ARGV[1] then
  local run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
  if held[5] == run then -- a lease that a restart brought back may have missed the publish that cancelled it
    redis.call('DEL', key)
    redis.call('HSET', key, 'owner', ARGV[1], 'run', run, 'incarnation', ARGV[2], 'version', version,
      'first', ARGV[8], 'last', ARGV[9], 'human', ARGV[10], 'keep', ARGV[6], 'bytes', ARGV[7])
    for i = 11, #ARGV do
      redis.call('HSET', key, ARGV[8] + i - 11, ARGV[i])
    end
    redis.call('PEXPIRE', key, ARGV[4])
    return 'filled'
  end
end
local same = held[1] == ARGV[1] and held[3] and held[2] == ARGV[2]
if same and tonumber(held[3]) >= version then
  redis.call('PEXPIRE', key, ARGV[4])
else
  redis.call('DEL', key)
end
return 'told'
