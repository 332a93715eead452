-- Move dead letters back to the rows, as they were before put_aside.lua; those that are not there any more have been
-- dealt with by somebody else.
-- KEYS  1 dead, 2 rows
-- ARGV  ids
-- returns for each id 1 when it was there, else 0
local out = {}
for i = 1, #ARGV do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then
    redis.call('XADD', KEYS[2], '*', unpack(entry[2], 1, #entry[2] - 2)) -- the reason is the last pair
    redis.call('XDEL', KEYS[1], ARGV[i])
  end
  out[i] = entry and 1 or 0
end
return out
