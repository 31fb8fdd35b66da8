-- Takes the jobs of lapsed workers back; their attempts count, for the job may be what killed the worker. ARGV: now, limit.
-- Answers how many, and when the next lease that holds jobs ends or -1.

local left = tonumber(ARGV[2])
make_room()
local count = 0
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', key('workers'), '-inf', int(now))) do
  local held = key('held:' .. worker)
  local names = left > 0 and redis.call('ZRANGE', held, 0, int(left - 1)) or {}
  for _, name in ipairs(names) do
    to_pending(load_job(id_of(name)), 0)
  end
  left, count = left - #names, count + #names
  if redis.call('ZCARD', held) == 0 then
    redis.call('ZREM', key('workers'), worker)
    redis.call('HDEL', key('sequences'), worker)
  end
end

local next_due = -1
local workers = redis.call('ZRANGE', key('workers'), 0, -1, 'WITHSCORES')
for at = 1, #workers, 2 do
  if redis.call('ZCARD', key('held:' .. workers[at])) > 0 then
    next_due = tonumber(workers[at + 1])
    break
  end
end
announce()
return {count, int(next_due)}
