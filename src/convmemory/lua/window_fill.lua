-- Fill the window with what was read from PostgreSQL under a lease; where that is gone, leave word of what was read.
-- KEYS[1]  history:{conversation}:recent
-- ARGV[1]  owner   the user who read
-- ARGV[2]  stamp   of the conversation as it was read, '' when there is none
-- ARGV[3]  ttl     milliseconds the key lives from now
-- ARGV[4]  token   the lease taken before PostgreSQL was read; '' where the window was too short
-- ARGV[5]  era     that came with it
-- ARGV[6]  keep    newest messages to keep as the window grows
-- ARGV[7]  bytes   of the messages below
-- ARGV[8]  first   place of the first message below
-- ARGV[9]  last    place of the newest message of the conversation
-- ARGV[10] human   place of its newest human message, 0 if none
-- ARGV[11] gaps    how many places come before that of its oldest message
-- ARGV[12..] the messages, in order
-- returns  'filled'; 'kept' (there is a window of just this stamp); 'dropped' (any other window, and any lease, is gone, so that
--          nothing older is filled or served after this read); 'absent' (there was nothing)
-- A window of just this stamp needs no lease to become longer: it shows the same state. One beside which a journal may lie has rows and a
-- life, which only those know who fill it with them (journal_fill).
local key = KEYS[1]
local held = redis.pcall('HMGET', key, 'owner', 'stamp', 'token', 'era', 'first', 'life', 'waits')
if held.err then -- what is no hash is no window: the next read replaces it
  return string.find(held.err, 'WRONGTYPE', 1, true) and 'absent' or held
end
if not held[1] then
  return 'absent'
end
local same = held[2] == ARGV[2] and held[1] == ARGV[1]
local longer = same and held[4] == ARGV[5] and tonumber(ARGV[8]) < tonumber(held[5]) and (ARGV.beside or not held[6])
if longer or held[3] == ARGV[4] and held[1] == ARGV[1] then
  redis.call('DEL', key)
  redis.call('HSET', key, 'owner', ARGV[1], 'era', ARGV[5], 'stamp', ARGV[2], 'first', ARGV[8], 'last', ARGV[9],
    'human', ARGV[10], 'gaps', ARGV[11], 'keep', ARGV[6], 'bytes', ARGV[7])
  for i = 12, #ARGV do
    redis.call('HSET', key, ARGV[8] + i - 12, ARGV[i])
  end
  if longer and held[7] then redis.call('HSET', key, 'waits', held[7]) end
  redis.call('PEXPIRE', key, ARGV[3])
  return 'filled'
end
if same then
  redis.call('PEXPIRE', key, ARGV[3])
  return 'kept'
end
redis.call('DEL', key)
return 'dropped'
