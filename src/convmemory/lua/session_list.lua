-- Note a session in its user's list and set the list's life in one step, so that no list is without a TTL.
-- KEYS[1]  user:{id}:sessions
-- ARGV[1]  ttl        milliseconds the list lives from now
-- ARGV[2]  session    its id
-- ARGV[3]  created    seconds since 1970, what the list is sorted by
-- returns  1
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
