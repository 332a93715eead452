-- Remove somebody from a game; their nickname is free again, unless they are banned. Who is not may come back as
-- somebody new: under the same id their answers would count again, and one to the open question keep them from another.
-- KEYS  1 game   2 people   3 names   4 bans   5 here   6 waiting   7 done   8 rows   9 channel
-- ARGV  1 participant   2 skeleton of the nickname   3 '1' to ban   4 row   5 the kicked event's data   6 ttl in seconds
-- returns 1, or 0 when there was no such participant
assert(#KEYS == 9 and #ARGV == 6, 'arguments')
whole(ARGV[6])
redis.call('HLEN', KEYS[3])
redis.call('SCARD', KEYS[4])
redis.call('ZCARD', KEYS[5])
redis.call('SCARD', KEYS[6])
redis.call('SCARD', KEYS[7])
redis.call('XLEN', KEYS[8])
if redis.call('HDEL', KEYS[2], ARGV[1]) == 0 then return 0 end
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
redis.call('HDEL', KEYS[3], ARGV[2])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('SREM', KEYS[6], ARGV[1])
redis.call('SREM', KEYS[7], ARGV[1])
if ARGV[3] == '1' then
  redis.call('SADD', KEYS[4], ARGV[1], 'name:' .. ARGV[2])
else
  redis.call('SADD', KEYS[4], 'gone:' .. ARGV[1])
end
redis.call('EXPIRE', KEYS[4], ARGV[6])
redis.call('XADD', KEYS[8], '*', 'row', ARGV[4], 'at', now)
redis.call('SPUBLISH', KEYS[9], '@' .. ARGV[1] .. ' kicked ' .. ARGV[5])
redis.call('SPUBLISH', KEYS[9], '* lobby {"participants":' .. redis.call('HLEN', KEYS[2]) .. ',"joined":[]}')
return 1
