-- Stands ahead of each script. One that fails midway keeps what it has written by then: so each asks first for whatever
-- could make it fail, with `assert`, with `whole`, and by reading the keys that it is going to write to.
-- whole(text) is an argument or a field as a number, if it is one that Redis takes everywhere; else an error
local function whole(text)
  assert(type(text) == 'string' and #text <= 15 and string.find(text, '^-?%d+$'), 'not a whole number')
  return tonumber(text)
end
