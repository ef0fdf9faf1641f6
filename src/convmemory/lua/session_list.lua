-- Note a session in its user's list and set the list's life in one step, so that no list is without a TTL. What was not noted
-- for the list's life has ended, since a session that is used is noted again before: it leaves the list here.
-- KEYS[1]  user:{id}:sessions
-- ARGV[1]  ttl        milliseconds the list lives from now
-- ARGV[2]  session    its handle
-- ARGV[3]  most       entries kept at most, those that were noted last
-- returns  1
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
