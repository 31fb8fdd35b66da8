-- Installs the fence. ARGV: now, generation, index, the epoch to take where there is none.

local epoch, refused = stored_epoch()
if refused and refused[1] == 'stale' then
  return refused
end
make_room()
redis.call('HSET', key('fence'), 'epoch', epoch or ARGV[4], 'generation', int(generation), 'index', int(index))
return {'ok', epoch or ARGV[4], marks()}
