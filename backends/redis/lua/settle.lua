-- Which offsets have ended, per partition: `settled` holds the low mark, below which all have, and from there on a bitmap in
-- pieces of 65,536 offsets (8 KiB), each removed when the low mark has passed it.

local PIECE = 65536

local function piece_of(partition, offset)
  return key('ended:' .. int(partition) .. ':' .. int(math.floor(offset / PIECE)))
end

local function set_bits(partition, from, to)
  while from < to do
    local piece, bit = piece_of(partition, from), from % PIECE
    local last = math.min(PIECE, bit + to - from)
    from = from + last - bit
    while bit < last and bit % 8 > 0 do
      redis.call('SETBIT', piece, int(bit), 1)
      bit = bit + 1
    end
    local bytes = math.floor((last - bit) / 8)
    if bytes > 0 then
      redis.call('SETRANGE', piece, int(bit / 8), string.rep('\255', bytes))
      bit = bit + bytes * 8
    end
    while bit < last do
      redis.call('SETBIT', piece, int(bit), 1)
      bit = bit + 1
    end
  end
end

-- The first offset from `low` on whose bit is not set.
local function first_open(partition, low)
  while true do
    local piece = piece_of(partition, low)
    while low % 8 > 0 do
      if redis.call('GETBIT', piece, int(low % PIECE)) == 0 then
        return low
      end
      low = low + 1
    end
    piece = piece_of(partition, low)
    local bit = redis.call('BITPOS', piece, 0, int((low % PIECE) / 8))
    if bit == -1 or redis.call('EXISTS', piece) == 0 then
      return low
    end
    low = low - low % PIECE + bit
    if bit < PIECE then
      return low
    end
    redis.call('DEL', piece)
  end
end

-- The low mark has passed from `old` to `low`: what lies behind it is removed. Beyond what was written or restored there is nothing,
-- however far a gap in the log leads.
local function drop_pieces(partition, old, low)
  local field = int(partition)
  local mark = tonumber(redis.call('HGET', key('marks'), field) or 0)
  local restored = tonumber(redis.call('HGET', key('restored'), field) or 0)
  local known = math.max(old + 1, mark, restored)
  for offset = old - old % PIECE, math.min(low - low % PIECE, known) - 1, PIECE do
    redis.call('DEL', piece_of(partition, offset))
  end
end

-- The offsets from `from` up to but without `to` have ended.
local function settle(partition, from, to)
  if from >= to then
    return
  end
  local field = int(partition)
  local old = tonumber(redis.call('HGET', key('settled'), field))
  if from > old then
    set_bits(partition, from, to)
    return
  end
  local low = first_open(partition, math.max(old, to))
  redis.call('HSET', key('settled'), field, int(low))
  if piece_of(partition, old) ~= piece_of(partition, low) then
    drop_pieces(partition, old, low)
  end
end
