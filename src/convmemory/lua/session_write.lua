-- Write a session's fields and set its life in one step, so that no session is without a TTL.
-- KEYS[1]  session:{handle}
-- ARGV[1]  ttl        milliseconds the session lives from now
-- ARGV[2]  must       '1': only if the session is there (an expired one is not brought back)
-- ARGV[3]  owner      only if it is this user's; '' for anybody's
-- ARGV[4..] field, value, ...
-- returns  the session's fields and values; empty when it must be there and is not, or is somebody else's
if ARGV[2] == '1' then
  local owner = redis.call('HGET', KEYS[1], 'user_id')
  if not owner or (ARGV[3] ~= '' and owner ~= ARGV[3]) then
    return {}
  end
end
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('HGETALL', KEYS[1])
