-- Serve the recent window, or take the lease that lets the caller fill it. One trip either way.
-- KEYS[1]  history:{conversation}:recent
-- ARGV[1]  owner      the user who reads
-- ARGV[2]  want       newest messages wanted; below 0: so many newest turns, all of them within hard messages
-- ARGV[3]  hard       at most so many when the newest turn is longer than want
-- ARGV[4]  ttl        milliseconds the key lives from now
-- ARGV[5]  token      names this reader
-- ARGV[6]  lease      milliseconds after which somebody else may fill
-- ARGV[7..] server, era, ...  what the servers the caller means call themselves, each with the era of its windows
-- returns  {'hit', stamp, last place, newest human's, places before the oldest, message, ...} oldest message first;
--          {'lease', token, era}: read PostgreSQL, then fill under that token and era;  {'miss'}: read PostgreSQL, then tell;
--          {'lease', '', era}: the same where the window is too short for this reader, and stays for others: a fill may make it longer;
--          {'foreign'}: the window is another user's;  {'elsewhere'}: this is none of those servers. Nothing was touched
-- A server draws a new replication id when it starts and when it becomes the primary (the run_id of a process survives that it
-- was a replica), so a window that a restart, a fail-over or a copy brought back is of another server, and another era.
local run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local era
for i = 7, #ARGV, 2 do
  if ARGV[i] == run then era = ARGV[i + 1] end
end
if not era then
  return {'elsewhere'}
end
local key, owner, token = KEYS[1], ARGV[1], ARGV[5]
local want, hard = tonumber(ARGV[2]), tonumber(ARGV[3])
local held = redis.pcall('HMGET', key, 'owner', 'era', 'stamp', 'first', 'last', 'human', 'token', 'deadline', 'gaps', 'waits', 'life')
if held.err then
  if not string.find(held.err, 'WRONGTYPE', 1, true) then return held end
  held = {} -- not a hash, so somebody else's or an older program's value: no window, and the lease takes its place
end
if held[1] and held[1] ~= owner and held[3] then -- a stranger's lease is no window, and must not keep the owner out
  return {'foreign'}
end
if held[3] and held[2] == era then
  local first, last, human = tonumber(held[4]), tonumber(held[5]), tonumber(held[6])
  local oldest = held[9] + 1
  local from = last - want + 1
  if human > 0 and human < from then from = human end
  from = math.max(oldest, last - hard + 1, from)
  if want < 0 then -- back to the human message that begins the first of those turns, if there is a turn before it: else
    -- what comes before is shown as well. The caller cuts exactly: one of blocks may carry the results of tools and begin none,
    -- so it is not counted where it has a word that such results have
    from = math.max(oldest, last - hard + 1)
    local turns, begins = 0, nil
    for at = last, math.max(first, from), -1 do
      local message = redis.call('HGET', key, at)
      if string.sub(message, 1, 18) == '{"c":"HumanMessage' and not (string.find(message, '^{"c":"%w+","t":')
        and (string.find(message, 'tool_result', 1, true) or string.find(message, 'toolResult', 1, true)
          or string.find(message, 'unction_?[Rr]esponse') or string.find(message, '_call_output', 1, true))) then
        turns = turns + 1
        if turns > -want then from = begins break end
        begins = at
      end
    end
  end
  if first <= from then
    if held[10] and ARGV.outlives then ARGV[4] = ARGV.outlives end
    redis.call('PEXPIRE', key, ARGV[4])
    local reply = {'hit', held[3], held[5], held[6], held[9]}
    for low = from, last, 1000 do -- more arguments than a few thousand a command takes no Lua
      local places = {}
      for at = low, math.min(last, low + 999) do
        places[#places + 1] = at
      end
      for _, message in ipairs(redis.call('HMGET', key, unpack(places))) do
        reply[#reply + 1] = message
      end
    end
    reply.held = held -- for a script that calls this: what has a name is in no answer
    return reply
  end
  return {'lease', '', era} -- PostgreSQL may be away, and there are readers and writers for whom it is long enough
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if held[7] and tonumber(held[8]) > now then
  redis.call('PEXPIRE', key, ARGV[4])
  return {'miss'}
end
-- A command that arrives twice, the second time after a write has cancelled its lease, must not renew what it granted.
token = token .. ':' .. clock[1] .. ':' .. clock[2]
if redis.call('EXISTS', key) == 1 then -- a full server refuses what grows only where it is a script's first write
  redis.call('DEL', key)
end
redis.call('HSET', key, 'owner', owner, 'token', token, 'deadline', now + tonumber(ARGV[6]))
redis.call('PEXPIRE', key, ARGV[4])
return {'lease', token, era}
