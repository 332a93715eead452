-- Write a game's next state, log its events, publish them and hand its rows to the flush: all of it, or nothing.
-- KEYS  1 game   2 log   3 due   4 rows   5 waiting   6 done   7 here   8 channel (so that SPUBLISH finds its slot)
-- ARGV  1 game id   2 revision that must still hold   3 state   4 phase   5 question   6 opens_at   7 until   8 shut
--       9 scored   10 due_at ('' = none)   11 ttl in seconds   12 most log entries   13 whether a question 'opens' or 'goes on'
--       14 number of rows n, then n rows; then name and data of each event
-- returns {1, offset} or {0, 0} when the revision has moved on, or the question that is to go on is being closed
local rows, ttl = whole(ARGV[14]), whole(ARGV[11])
assert(#KEYS == 8 and rows >= 0 and #ARGV >= 14 + rows and (#ARGV - rows) % 2 == 0, 'arguments')
if ARGV[10] ~= '' then whole(ARGV[10]) end
local game = redis.call('HMGET', KEYS[1], 'revision', 'epoch', 'offset', 'sealed')
if game[1] ~= ARGV[2] or (ARGV[13] == 'goes on' and game[4] == ARGV[5]) then return {0, 0} end
whole(game[1])
local epoch, offset = game[2], whole(game[3])
redis.call('ZCARD', KEYS[3])
redis.call('XLEN', KEYS[4])

local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
local here = {}
if ARGV[13] == 'opens' then here = redis.call('ZRANGEBYSCORE', KEYS[7], '(' .. now, '+inf') end

-- First of all that is written: a log that is ahead of the game takes no entry.
local told = {}
for i = 15 + rows, #ARGV, 2 do
  local name, data = ARGV[i], string.sub(ARGV[i + 1], 1, -2) .. ',"server_now_at":' .. now .. '}'
  offset = offset + 1
  local id = epoch .. '-' .. string.format('%.0f', offset)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[12], id, name, data)
  told[#told + 1] = {name, data, id}
end

redis.call('HSET', KEYS[1], 'state', ARGV[3], 'phase', ARGV[4], 'question', ARGV[5], 'opens_at', ARGV[6],
  'until', ARGV[7], 'shut', ARGV[8], 'scored', ARGV[9], 'offset', string.format('%.0f', offset))
redis.call('HINCRBY', KEYS[1], 'revision', 1)
if ARGV[10] == '' then redis.call('ZREM', KEYS[3], ARGV[1]) else redis.call('ZADD', KEYS[3], ARGV[10], ARGV[1]) end

if ARGV[13] == 'opens' then
  -- Whoever is connected now is waited for; presence.lua adds those who come later.
  redis.call('HDEL', KEYS[1], 'sealed', 'event:closed', 'event:leaderboard')
  redis.call('DEL', KEYS[5], KEYS[6])
  for first = 1, #here, 1000 do
    redis.call('SADD', KEYS[5], unpack(here, first, math.min(first + 999, #here)))
  end
  redis.call('EXPIRE', KEYS[5], ttl)
end

for i = 15, 14 + rows do redis.call('XADD', KEYS[4], '*', 'row', ARGV[i], 'at', now) end

for _, event in ipairs(told) do
  local name, data, id = unpack(event)
  redis.call('HSET', KEYS[1], 'event:' .. name, data)
  redis.call('SPUBLISH', KEYS[8], id .. ' ' .. name .. ' ' .. data)
end
redis.call('EXPIRE', KEYS[1], ttl)
redis.call('EXPIRE', KEYS[2], ttl)
return {1, offset}
