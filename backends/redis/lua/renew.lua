-- Gives back what was never received, renews the lease, and tells what the worker holds. ARGV: now, worker, the last sequence
-- received, ttl in ms.

local held = key('held:' .. ARGV[2])
local lost = redis.call('ZRANGEBYSCORE', held, '(' .. ARGV[3], '+inf')
make_room()
for _, name in ipairs(lost) do
  to_pending(load_job(id_of(name)), 1)
end
if redis.call('ZSCORE', key('workers'), ARGV[2]) then
  redis.call('ZADD', key('workers'), int(now + tonumber(ARGV[4])), ARGV[2])
end
local answer = {}
for i, name in ipairs(redis.call('ZRANGE', held, 0, -1)) do
  local job = load_job(id_of(name))
  answer[i] = {job.id, int(job.epoch)}
end
announce()
return answer
