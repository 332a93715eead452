-- Let a group of people in.
-- KEYS  1 rows; then for each game: game, people, names, bans, here, waiting, channel
-- ARGV  for each game in turn: n, ttl in seconds, ms for which they count as here, then n times: participant, nickname, skeleton, row
-- returns for each: code, nickname
--         code 0 joined, 1 was in already (the nickname is the one of then), 2 nickname taken, 3 locked, 4 full,
--         5 over, 6 banned, 7 no such game, 8 kicked: they need a new id
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local stamp = string.format('%.0f', now)

assert(#KEYS % 7 == 1, 'keys')
redis.call('XLEN', KEYS[1])
local games, arg = {}, 1
for key = 2, #KEYS, 7 do
  local count = whole(ARGV[arg])
  whole(ARGV[arg + 1])
  whole(ARGV[arg + 2])
  assert(count >= 0, 'arguments')
  arg = arg + 3 + 4 * count
  local game = redis.call('HMGET', KEYS[key], 'phase', 'shut', 'max', 'joins')
  if game[1] then
    game[3] = whole(game[3])
    whole(game[4])
  end
  redis.call('HLEN', KEYS[key + 1])
  redis.call('HLEN', KEYS[key + 2])
  redis.call('SCARD', KEYS[key + 3])
  redis.call('ZCARD', KEYS[key + 4])
  redis.call('SCARD', KEYS[key + 5])
  games[key] = game
end
assert(arg == #ARGV + 1, 'arguments')

local out = {}
arg = 1
for key = 2, #KEYS, 7 do
  local count, ttl, here_ms = tonumber(ARGV[arg]), ARGV[arg + 1], tonumber(ARGV[arg + 2])
  arg = arg + 3
  local game = games[key]
  local size = redis.call('HLEN', KEYS[key + 1])
  local joined = {}
  for _ = 1, count do
    local participant, nickname, skeleton, row = ARGV[arg], ARGV[arg + 1], ARGV[arg + 2], ARGV[arg + 3]
    arg = arg + 4
    local code
    local person = game[1] and redis.call('HGET', KEYS[key + 1], participant)
    local barred = redis.call('SMISMEMBER', KEYS[key + 3], participant, 'name:' .. skeleton, 'gone:' .. participant)
    if not game[1] then
      code = 7
    elseif barred[1] == 1 or barred[2] == 1 then
      code = 6
    elseif person then
      code, nickname = 1, string.match(person, '^%d+:%d+:(.*)$') or nickname
    elseif barred[3] == 1 then
      code = 8
    elseif game[1] == 'finished' then
      code = 5
    elseif game[2] == '1' then
      code = 3
    elseif size >= game[3] then
      code = 4
    elseif redis.call('HSETNX', KEYS[key + 2], skeleton, participant) == 0 then
      code = 2
    else
      code, size = 0, size + 1
      local number = redis.call('HINCRBY', KEYS[key], 'joins', 1)
      redis.call('HSET', KEYS[key + 1], participant, number .. ':' .. stamp .. ':' .. nickname)
      redis.call('XADD', KEYS[1], '*', 'row', row, 'at', stamp, 'number', number)
      -- Here, and waited for, until the stream opens or the phone turns out to have been put away.
      redis.call('ZADD', KEYS[key + 4], now + here_ms, participant)
      if game[1] == 'question' then redis.call('SADD', KEYS[key + 5], participant) end
      joined[#joined + 1] = nickname
    end
    out[#out + 1] = code
    out[#out + 1] = nickname
  end
  if #joined > 0 then
    redis.call('EXPIRE', KEYS[key + 1], ttl)
    redis.call('EXPIRE', KEYS[key + 2], ttl)
    redis.call('EXPIRE', KEYS[key + 4], ttl)
    redis.call('EXPIRE', KEYS[key + 5], ttl)
    redis.call('SPUBLISH', KEYS[key + 6],
      '* lobby {"participants":' .. size .. ',"joined":' .. cjson.encode(joined) .. '}')
  end
end
return out
