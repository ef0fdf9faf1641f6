-- End a session, if it is there and the user's. Twice is as good as once, but that the second finds none.
-- KEYS[1]  session:{id}
-- ARGV[1]  owner      only if it is this user's; '' for anybody's
-- returns  1; 0 when it is not there, or is somebody else's
local owner = redis.call('HGET', KEYS[1], 'user_id')
if not owner or (ARGV[1] ~= '' and owner ~= ARGV[1]) then
  return 0
end
return redis.call('UNLINK', KEYS[1])
