-- Gives partitions without a mark what an earlier memory knew of them. ARGV: now, generation, index, epoch, then five for each:
-- partition, low mark, first offset of the bits (a multiple of 8), the bits, the checkpoints as checkpoints.lua has them. The hash `restored` holds where the bits end: up to
-- there `write` asks whether a job has ended.

local epoch, refused = stored_epoch()
if refused then
  return refused
elseif epoch ~= ARGV[4] then
  return {'missing'}
end

local function set_range(partition, offset, bits)
  while #bits > 0 do
    local at = offset % PIECE / 8
    local part = string.sub(bits, 1, PIECE / 8 - at)
    redis.call('SETRANGE', piece_of(partition, offset), int(at), part)
    offset, bits = offset + #part * 8, string.sub(bits, #part + 1)
  end
end

make_room()
for at = 5, #ARGV, 5 do
  local field, low, first, bits = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  if redis.call('HSETNX', key('marks'), field, low) == 1 then
    redis.call('HSET', key('settled'), field, low)
    if #bits > 0 then
      set_range(tonumber(field), first, bits)
      redis.call('HSET', key('restored'), field, int(first + #bits * 8))
    end
    redis.call('HSET', key('checkpoints'), field, ARGV[at + 4])
  end
end
return {'ok'}
