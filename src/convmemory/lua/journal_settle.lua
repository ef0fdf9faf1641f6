-- Tell the recent window of a committed write or of what was read. Let go, at one stroke, of the entries that are stored by it: a reader
-- in between would miss them, or see them twice. Twice is as good as once.
-- KEYS[1]  history:{conversation}:recent
-- KEYS[2]  history:{conversation}:journal
-- ARGV[1]  count    of the ids that follow
-- ARGV[2..] told     the ids of the entries, and then what window_publish is told
-- calls    window_publish journal_trim
-- returns  what window_publish returns; with 'elsewhere' nothing was let go of
local count = tonumber(ARGV[1])
local ids, told = {}, {}
for i = 2, #ARGV do
  if i <= count + 1 then
    ids[#ids + 1] = ARGV[i]
  else
    told[#told + 1] = ARGV[i]
  end
end
local there = redis.call('EXISTS', KEYS[2]) == 1
local said = window_publish({KEYS[1]}, told)
if said ~= 'elsewhere' and type(said) == 'string' then
  journal_trim({KEYS[2]}, ids)
  if redis.call('TYPE', KEYS[1]).ok == 'hash' and redis.call('HGET', KEYS[1], 'waits') and redis.call('EXISTS', KEYS[2]) == 0 then
    if there then
      redis.call('HDEL', KEYS[1], 'waits')
    else -- the journal that the window knows of was lost, with more perhaps than these
      redis.call('DEL', KEYS[1])
      said = 'dropped'
    end
  end
end
return said
