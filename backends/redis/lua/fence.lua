-- The relay's fence: the newest token and the epoch, in the hash `fence`. ARGV[2] and ARGV[3] are the caller's token.
-- `refused` there counts the calls of terms that were over and did not know it.

local generation, index = tonumber(ARGV[2]), tonumber(ARGV[3])

local function marks()
  return {redis.call('HGETALL', key('marks')), redis.call('HGETALL', key('settled')), redis.call('HGETALL', key('checkpoints'))}
end

-- Returns the epoch, and nil or the answer that refuses. A token larger than the fence was never planted here: writing with it
-- would let the older term write too.
local function stored_epoch()
  local fence = redis.call('HMGET', key('fence'), 'epoch', 'generation', 'index')
  if not fence[1] then
    return nil, {'missing'}
  end
  local held_generation, held_index = tonumber(fence[2]), tonumber(fence[3])
  if generation < held_generation or (generation == held_generation and index < held_index) then
    make_room()
    redis.call('HINCRBY', key('fence'), 'refused', 1)
    return fence[1], {'stale', fence[2], fence[3]}
  elseif generation ~= held_generation or index ~= held_index then
    return fence[1], {'missing'}
  end
  return fence[1], nil
end
