-- Move entries to the dead-letter stream; those that are not there any more have been moved by another worker.
-- KEYS  1 rows, 2 dead
-- ARGV  for each entry: id, reason
-- returns how many this call has moved
assert(#ARGV % 2 == 0, 'arguments')
redis.call('XLEN', KEYS[2])
local entries, moved = {}, 0
for i = 1, #ARGV, 2 do entries[i] = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1] end
for i, entry in pairs(entries) do
  -- In this order: a script that has begun to write may go on when the memory is full, and may not begin by adding.
  if redis.call('XDEL', KEYS[1], entry[1]) == 1 then
    local fields = entry[2]
    fields[#fields + 1] = 'reason'
    fields[#fields + 1] = ARGV[i + 1]
    redis.call('XADD', KEYS[2], '*', unpack(fields))
    moved = moved + 1
  end
end
return moved
