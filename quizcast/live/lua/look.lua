-- Read fields of a game together with the server's clock.
-- KEYS  1 game
-- ARGV  names of fields
-- returns {now_ms, value or false, …}
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
local values = redis.call('HMGET', KEYS[1], unpack(ARGV))
table.insert(values, 1, now)
return values
