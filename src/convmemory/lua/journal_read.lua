-- Serve the recent window and what waits in the journal beside it, or take the lease, as window_read does. One trip either way.
-- KEYS[1]  history:{conversation}:recent
-- KEYS[2]  history:{conversation}:journal
-- ARGV[1]  ttl      milliseconds the window lives from now where something waits: it must be there as long as others write
-- ARGV[2..] what window_read is told
-- calls    window_read
-- returns  {what window_read returns, life of a window that is served, fields and values of the journal}; without the last two where it is
--          {'elsewhere'} or {'foreign'}
local asked = {}
for i = 2, #ARGV do
  asked[i - 1] = ARGV[i]
end
asked.outlives = ARGV[1]
local reply = window_read({KEYS[1]}, asked)
local held = reply.held
local journal = {}
if held and held[10] then
  journal = redis.call('HGETALL', KEYS[2])
  if #journal == 0 then
    redis.call('DEL', KEYS[1]) -- the journal that it knows of was lost: what was in it may be stored, and is not shown
    reply = window_read({KEYS[1]}, asked)
    held = reply.held
  end
elseif not held then
  journal = redis.call('HGETALL', KEYS[2])
end
if reply.err then
  return reply
end
if reply[1] == 'elsewhere' or reply[1] == 'foreign' then
  return {reply}
end
return {reply, held and held[11] or '', journal}
