-- Fill the window with what was read from PostgreSQL under a lease, as window_fill does.
-- For a journal to lie beside it, each message has its row behind it, and it has the conversation's life. What waited was stored, and let go of, before the lease was taken.
-- KEYS[1]  history:{conversation}:recent
-- ARGV[1]  life     of the conversation as it was read, with its version: what was removed later is known; '' where there is none
-- ARGV[2..] what window_fill is told
-- calls    window_fill
-- returns  what window_fill returns
local told = {beside = true}
for i = 2, #ARGV do
  told[i - 1] = ARGV[i]
end
local said = window_fill({KEYS[1]}, told)
if said == 'filled' then
  redis.call('HSET', KEYS[1], 'life', ARGV[1])
end
return said
