-- Take a conversation for a run that answers in it, unless another is on its way there. Twice is as good as once.
-- KEYS[1]  run:{conversation}
-- ARGV[1]  run   the run's own id
-- ARGV[2]  key   what the request that asked for it is known by; '' where it is by nothing
-- ARGV[3]  ttl   milliseconds the key lives from now: a run that is not written to for so long has died
-- ARGV[4]  over  '1': also where the same request has been answered just now
-- returns  nil when it is taken; else key and state of the run that is on its way ('', 'cut') or that answered this very request
local held = redis.call('HMGET', KEYS[1], 'run', 'key', 'state')
if held[1] ~= ARGV[1] then
  if held[1] and (not held[3] or held[3] == 'cut') then
    return { held[2], held[3] or '' }
  end
  if held[1] and ARGV[2] ~= '' and held[2] == ARGV[2] and held[3] ~= 'failed' and ARGV[4] ~= '1' then
    return { held[2], held[3] }
  end
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'run', ARGV[1], 'key', ARGV[2], 'last', 0)
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return nil
