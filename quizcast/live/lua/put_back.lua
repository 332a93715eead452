-- Move dead letters back to the rows, as they were before put_aside.lua; those that are not there any more have been
-- dealt with by somebody else.
-- KEYS  1 dead, 2 rows
-- ARGV  ids
-- returns for each id 1 when it was there, else 0
redis.call('XLEN', KEYS[2])
local entries = {}
for i = 1, #ARGV do
  entries[i] = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1] or false
  assert(not entries[i] or #entries[i][2] > 2, 'no dead letter')
end
local out = {}
for i, entry in ipairs(entries) do
  out[i] = entry and redis.call('XDEL', KEYS[1], entry[1]) or 0
  if out[i] == 1 then redis.call('XADD', KEYS[2], '*', unpack(entry[2], 1, #entry[2] - 2)) end -- the reason is the last pair
end
return out
