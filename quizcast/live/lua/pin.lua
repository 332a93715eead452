-- Tell somebody whether their PIN is right, unless they or too many others have been guessing.
-- KEYS  1 wrong PINs of this address   2 wrong PINs of everybody   3 mark: this address is known in this game
-- ARGV  1 '1' when the PIN is right   2 most wrong PINs of an address   3 most of everybody
--       4 most of an address while everybody's are over (3)   5 ms that wrong PINs count   6 ms that they count then
--       7 seconds that the mark lives
-- returns {'right', 0}, {'wrong', 0}, or {'wait', ms}, which is said to right and wrong PINs alike
local right = ARGV[1] == '1'
local most, most_of_all, most_pressed = whole(ARGV[2]), whole(ARGV[3]), whole(ARGV[4])
assert(whole(ARGV[5]) > 0 and whole(ARGV[6]) > 0 and whole(ARGV[7]) > 0, 'no time to live')
if right and redis.call('EXISTS', KEYS[3]) == 1 then return {'right', 0} end

local own = whole(redis.call('GET', KEYS[1]) or '0')
local pressed = whole(redis.call('GET', KEYS[2]) or '0') >= most_of_all
if own >= (pressed and most_pressed or most) then return {'wait', redis.call('PTTL', KEYS[1])} end

if right then
  redis.call('SET', KEYS[3], '1', 'EX', ARGV[7])
  return {'right', 0}
end

if redis.call('INCR', KEYS[1]) == 1 or pressed then
  redis.call('PEXPIRE', KEYS[1], pressed and ARGV[6] or ARGV[5])
end
if redis.call('INCR', KEYS[2]) == 1 then redis.call('PEXPIRE', KEYS[2], ARGV[5]) end
return {'wrong', 0}
