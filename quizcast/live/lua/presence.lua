-- Say who is connected; take those who have been silent too long off the list of people to wait for.
-- KEYS  1 game   2 people   3 here   4 waiting   5 done
-- ARGV  1 ms for which "here" holds   2 ms for which "gone" is not yet believed   3 ttl in seconds
--       4 number of people here n, then n participants; then those gone
-- returns 1 when a question is open and nobody is waited for any more, else 0
local count, here_ms, gone_ms, ttl = whole(ARGV[4]), whole(ARGV[1]), whole(ARGV[2]), whole(ARGV[3])
assert(#KEYS == 5 and count >= 0 and #ARGV >= 4 + count, 'arguments')
local phase = redis.call('HGET', KEYS[1], 'phase')
if not phase then return 0 end
redis.call('HLEN', KEYS[2])
redis.call('ZCARD', KEYS[3])
redis.call('SCARD', KEYS[4])
redis.call('SCARD', KEYS[5])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for i = 5, 4 + count do
  -- Who has just been kicked may still be reported; the next question must not wait for them.
  if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 1 then
    redis.call('ZADD', KEYS[3], now + here_ms, ARGV[i])
    if phase == 'question' and redis.call('SISMEMBER', KEYS[5], ARGV[i]) == 0 then
      redis.call('SADD', KEYS[4], ARGV[i])
    end
  end
end
-- A dropped line is no departure: a phone that changes its antenna is back within seconds, and a server that
-- restarts drops everybody at once. Closing the question then would rob them all of their answers.
for i = 5 + count, #ARGV do
  redis.call('ZADD', KEYS[3], 'XX', 'LT', now + gone_ms, ARGV[i])
end
local silent = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 5000)
for first = 1, #silent, 1000 do
  local last = math.min(first + 999, #silent)
  redis.call('ZREM', KEYS[3], unpack(silent, first, last))
  redis.call('SREM', KEYS[4], unpack(silent, first, last))
end
if count > 0 then
  redis.call('EXPIRE', KEYS[3], ttl)
  redis.call('EXPIRE', KEYS[4], ttl)
end
if phase ~= 'question' or redis.call('SCARD', KEYS[5]) == 0 then return 0 end
return redis.call('SCARD', KEYS[4]) == 0 and 1 or 0
