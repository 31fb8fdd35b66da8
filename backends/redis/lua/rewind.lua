-- Moves a mark back to where the log was cut. ARGV: now, generation, index, epoch, partition, where to.

local epoch, refused = stored_epoch()
if refused then
  return refused
elseif epoch ~= ARGV[4] then
  return {'missing'}
end
local field, to = ARGV[5], tonumber(ARGV[6])
local partition, mark = tonumber(field), tonumber(redis.call('HGET', key('marks'), field) or 0)

local function lower(name)
  local old = tonumber(redis.call('HGET', key(name), field))
  if old and old > to then
    redis.call('HSET', key(name), field, int(to))
  end
end

-- No offset from `to` on has ended. What is cut short is one piece; the others go.
local function clear_bits(last)
  local piece, bit = piece_of(partition, to), to % PIECE
  while bit % 8 > 0 and redis.call('EXISTS', piece) == 1 do
    redis.call('SETBIT', piece, int(bit), 0)
    bit = bit + 1
  end
  local bytes = redis.call('STRLEN', piece) - math.floor(bit / 8)
  if bit % 8 == 0 and bytes > 0 then
    redis.call('SETRANGE', piece, int(bit / 8), string.rep('\0', bytes))
  end
  for offset = to - to % PIECE + PIECE, last, PIECE do
    redis.call('DEL', piece_of(partition, offset))
  end
end

local restored = tonumber(redis.call('HGET', key('restored'), field) or 0)
if mark <= to then  -- what was restored may reach beyond the mark
  make_room()
  if restored > to then
    clear_bits(restored)
    lower('settled')
    lower('restored')
  end
  drop_checkpoints(field, to)
  return {'ok'}
end

make_room()
clear_bits(math.max(mark, restored))
lower('settled')
lower('restored')
drop_checkpoints(field, to)
local places = redis.call('HGET', key('rewinds'), field)
redis.call('HSET', key('rewinds'), field, (places and places .. ' ' or '') .. int(to))
redis.call('HSET', key('marks'), field, int(to))
return {'ok'}
