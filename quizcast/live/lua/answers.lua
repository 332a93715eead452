-- Take a group of answers: first wins, on this server's clock.
-- KEYS  1 rows; then for each (game, question): game, answers, people, waiting, done, channel
-- ARGV  for each (game, question) in turn: question, n, ttl in seconds, n participants, n answers, n rows;
--         the answer is '' for one that does not fit its question
-- returns for each (game, question): 1 when nobody is waited for any more, else 0; then the time for all with code 0; then
--         the codes, a digit each; then for each code 1, in their order, the time when it was taken
--         code 0 taken, 1 taken before (same answer), 2 answered otherwise, 3 not open, 4 closed, 5 not in the game,
--         6 no such game, 7 would be taken, but does not fit
-- A call of a command costs more than what it does for one answer: so all of a question go together, where they can.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local stamp = string.format('%.0f', now)

-- Lua hands over some thousands of arguments, and no more.
local function asked(key, first, last)
  local got = {}
  for from = first, last, 1000 do
    for _, one in ipairs(redis.call('HMGET', key, unpack(ARGV, from, math.min(from + 999, last)))) do
      got[#got + 1] = one
    end
  end
  return got
end
local function write(command, key, all)
  for from = 1, #all, 1000 do
    redis.call(command, key, unpack(all, from, math.min(from + 999, #all)))
  end
end

assert(#KEYS % 6 == 1, 'keys')
redis.call('XLEN', KEYS[1])
local games, arg = {}, 1
for key = 2, #KEYS, 6 do
  local count = whole(ARGV[arg + 1])
  whole(ARGV[arg + 2])
  assert(count >= 0, 'arguments')
  arg = arg + 3 + 3 * count
  local game = redis.call('HMGET', KEYS[key], 'phase', 'question', 'opens_at', 'until', 'sealed')
  if game[1] then game[3], game[4] = whole(game[3]), whole(game[4]) end
  redis.call('HLEN', KEYS[key + 1])
  redis.call('HLEN', KEYS[key + 2])
  redis.call('SCARD', KEYS[key + 3])
  redis.call('SCARD', KEYS[key + 4])
  games[key] = game
end
assert(arg == #ARGV + 1, 'arguments')

local out, codes, earlier = {}, {}, {}
arg = 1
for key = 2, #KEYS, 6 do
  local question, count, ttl = ARGV[arg], tonumber(ARGV[arg + 1]), ARGV[arg + 2]
  local people, answers, rows = arg + 2, arg + 2 + count, arg + 2 + 2 * count
  arg = arg + 3 + 3 * count
  local game = games[key]
  local refusal
  if not game[1] then
    refusal = 6
  elseif game[2] ~= question then
    refusal = 3
  elseif game[1] ~= 'question' or game[5] == question or now > game[4] then
    refusal = 4
  elseif now < game[3] then
    refusal = 3
  end
  local known = asked(KEYS[key + 1], people + 1, people + count)
  local within = asked(KEYS[key + 2], people + 1, people + count)
  local taken, fields, entries, here = {}, {}, {}, {}
  for i = 1, count do
    local participant, answer = ARGV[people + i], ARGV[answers + i]
    local code, before = refusal, known[i] or here[participant]
    if not game[1] then
      code = 6
    elseif not within[i] then
      code = 5  -- also for somebody who answered before they were kicked
    elseif before then
      -- A retry of an acknowledged answer gets its promise repeated, even after the bell.
      local at, said = string.match(before, '^(%d+):(.*)$')
      if said == answer then
        code = 1
        earlier[#earlier + 1] = at
      else
        code = refusal or 2
      end
    elseif not refusal and answer == '' then
      code = 7  -- not sooner: what fits a question is for those to know who have been shown it
    elseif not refusal then
      code = 0
      here[participant] = stamp .. ':' .. answer
      taken[#taken + 1] = participant
      fields[#fields + 1] = participant
      fields[#fields + 1] = here[participant]
      entries[#entries + 1] = ARGV[rows + i]
    end
    codes[#codes + 1] = code
  end
  local left = 1
  if #taken > 0 then
    write('HSET', KEYS[key + 1], fields)
    write('SREM', KEYS[key + 3], taken)
    write('SADD', KEYS[key + 4], taken)
    for _, row in ipairs(entries) do redis.call('XADD', KEYS[1], '*', 'row', row, 'at', stamp) end
    redis.call('EXPIRE', KEYS[key + 1], ttl)
    redis.call('EXPIRE', KEYS[key + 4], ttl)
    left = redis.call('SCARD', KEYS[key + 3])
    local answered = redis.call('SCARD', KEYS[key + 4])
    redis.call('SPUBLISH', KEYS[key + 5], '* progress {"index":' .. question .. ',"answered":' .. answered
      .. ',"eligible":' .. answered + left .. '}')
  elseif not refusal then  -- a retry, perhaps: the reply that told of the last one was lost
    left = redis.call('SCARD', KEYS[key + 3])
  end
  out[#out + 1] = left == 0 and 1 or 0
end
out[#out + 1] = stamp
out[#out + 1] = table.concat(codes)
for i = 1, #earlier do out[#out + 1] = earlier[i] end
return out
