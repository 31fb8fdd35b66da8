-- Tells which offsets of one partition have ended. ARGV: now, generation, index, partition, how many offsets to tell of. Answers
-- the low mark and the pieces of the bitmap, from the one that the low mark lies in on; a piece without a bit is nil.

local _, refused = stored_epoch()
if refused then
  return refused
end
local partition = tonumber(ARGV[4])
local low = redis.call('HGET', key('settled'), ARGV[4])
local known = math.max(
  tonumber(redis.call('HGET', key('marks'), ARGV[4])),
  tonumber(redis.call('HGET', key('restored'), ARGV[4]) or 0)
)
local last = math.min(known, tonumber(low) + tonumber(ARGV[5]))
local pieces = {}
for offset = tonumber(low) - tonumber(low) % PIECE, last - 1, PIECE do
  pieces[#pieces + 1] = redis.call('GET', piece_of(partition, offset))
end
return {'ok', low, pieces}
