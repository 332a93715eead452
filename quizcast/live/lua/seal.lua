-- Stop taking answers to a question, so that it can be scored; the second and third caller are welcome too.
-- KEYS  1 game   2 due   3 waiting   4 done
-- ARGV  1 game id   2 question   3 reason: time | host | all_answered   4 ms until another process may take over
--       5 ms that an opening may lie ahead; what lies further was asked before this clock was set back, and is over
-- returns the reason it was sealed for, now or before; or '' when this one does not hold or the question is not open
assert(#KEYS == 4 and #ARGV == 5, 'arguments')
local takeover_ms, ahead_ms = whole(ARGV[4]), whole(ARGV[5])
redis.call('ZCARD', KEYS[2])
local game = redis.call('HMGET', KEYS[1], 'phase', 'question', 'until', 'sealed', 'sealed_for', 'opens_at')
if game[1] ~= 'question' or game[2] ~= ARGV[2] then return '' end
if game[4] == ARGV[2] then return game[5] end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if ARGV[3] == 'time' and now <= whole(game[3]) and whole(game[6]) <= now + ahead_ms then return '' end
if ARGV[3] == 'all_answered'
  and (redis.call('SCARD', KEYS[3]) > 0 or redis.call('SCARD', KEYS[4]) == 0) then return '' end
redis.call('HSET', KEYS[1], 'sealed', ARGV[2], 'sealed_for', ARGV[3])
-- Should this caller die before it has scored, the deadline brings the next one.
redis.call('ZADD', KEYS[2], now + takeover_ms, ARGV[1])
return ARGV[3]
