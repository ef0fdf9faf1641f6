-- Serve the recent window and what waits in the journal beside it, or take the lease, as window_read does. One trip either way.
-- KEYS[1]  history:{conversation}:recent
-- KEYS[2]  history:{conversation}:journal
-- ARGV[1]  ttl      milliseconds the window lives from now where something waits: it must be there as long as others write
-- ARGV[2..] what window_read is told
-- calls    window_read
-- returns  {what window_read returns, life of a window that is served, fields and values of the journal}; without the last two where it is
--          {'elsewhere'} or {'foreign'}
local journal = redis.call('HGETALL', KEYS[2])
local asked = {}
for i = 2, #ARGV do
  asked[i - 1] = ARGV[i]
end
if #journal > 0 then
  asked[4] = ARGV[1]
end
local reply = window_read({KEYS[1]}, asked)
if reply[1] == 'hit' and #journal == 0 and redis.call('HGET', KEYS[1], 'waits') then
  redis.call('DEL', KEYS[1]) -- the journal that it knows of was lost: what was in it may be stored, and is not shown
  reply = window_read({KEYS[1]}, asked)
end
if reply.err then
  return reply
end
if reply[1] == 'elsewhere' or reply[1] == 'foreign' then
  return {reply}
end
return {reply, reply[1] == 'hit' and redis.call('HGET', KEYS[1], 'life') or '', journal}
