-- Take a group of answers: first wins, on this server's clock.
-- KEYS  1 rows; then for each (game, question): game, answers, people, waiting, done, channel
-- ARGV  for each (game, question) in turn: question, n, ttl in seconds, then n times: participant, answer, row;
--         the answer is '' for one that does not fit its question
-- returns for each (game, question): 1 when nobody is waited for any more, else 0; then for each answer: code, at
--         code 0 taken, 1 taken before (same answer), 2 answered otherwise, 3 not open, 4 closed, 5 not in the game,
--         6 no such game, 7 would be taken, but does not fit; at is when it was taken
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local stamp = string.format('%.0f', now)

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

local flags, out = {}, {}
arg = 1
for key = 2, #KEYS, 6 do
  local question, count, ttl = ARGV[arg], tonumber(ARGV[arg + 1]), ARGV[arg + 2]
  arg = arg + 3
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
  local taken = 0
  for _ = 1, count do
    local participant, answer, row = ARGV[arg], ARGV[arg + 1], ARGV[arg + 2]
    arg = arg + 3
    local code, at = refusal, stamp
    local known = redis.call('HGET', KEYS[key + 1], participant)
    if refusal == 6 then
      code = 6
    elseif redis.call('HEXISTS', KEYS[key + 2], participant) == 0 then
      code = 5  -- also for somebody who answered before they were kicked
    elseif known then
      -- A retry of an acknowledged answer gets its promise repeated, even after the bell.
      local then_at, said = string.match(known, '^(%d+):(.*)$')
      if said == answer then code, at = 1, then_at else code = refusal or 2 end
    elseif not refusal and answer == '' then
      code = 7  -- not sooner: what fits a question is for those to know who have been shown it
    elseif not refusal then
      redis.call('HSET', KEYS[key + 1], participant, stamp .. ':' .. answer)
      redis.call('XADD', KEYS[1], '*', 'row', row, 'at', stamp)
      redis.call('SREM', KEYS[key + 3], participant)
      redis.call('SADD', KEYS[key + 4], participant)
      code, taken = 0, taken + 1
    end
    out[#out + 1] = code
    out[#out + 1] = at
  end
  local left = 1
  if taken > 0 then
    redis.call('EXPIRE', KEYS[key + 1], ttl)
    redis.call('EXPIRE', KEYS[key + 4], ttl)
    left = redis.call('SCARD', KEYS[key + 3])
    local answered = redis.call('SCARD', KEYS[key + 4])
    redis.call('SPUBLISH', KEYS[key + 5], '* progress {"index":' .. question .. ',"answered":' .. answered
      .. ',"eligible":' .. answered + left .. '}')
  end
  flags[#flags + 1] = left == 0 and 1 or 0
end
for i = 1, #out do flags[#flags + 1] = out[i] end
return flags
