-- Leases pending jobs, or repeats the answer to a call made before. ARGV: now, worker, sequence, ttl in ms, limit.

local worker, sequence, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])

-- Grows, also where this server lost its newest writes or everything: microseconds of its clock, or one more than the last.
local function next_epoch()
  local last = tonumber(redis.call('HGET', key('fence'), 'leases') or 0)
  local epoch = math.max(last + 1, microseconds)
  redis.call('HSET', key('fence'), 'leases', int(epoch))
  return epoch
end

local function lease()
  local names = limit > 0 and redis.call('ZRANGE', key('pending'), 0, int(limit - 1)) or {}
  if #names == 0 then
    return
  end
  local epoch = next_epoch()
  for _, name in ipairs(names) do
    local job = load_job(id_of(name))
    leave(job)
    job.state, job.attempt = IN_FLIGHT, job.attempt + 1
    job.worker, job.sequence, job.epoch = worker, sequence, epoch
    enter(job)
  end
end

local function remember()
  local lease_end = now + tonumber(ARGV[4])
  local earlier = tonumber(redis.call('ZSCORE', key('workers'), worker) or 0)
  redis.call('ZADD', key('workers'), int(math.max(lease_end, earlier)), worker)
  redis.call('HSET', key('sequences'), worker, int(sequence))
end

local last = redis.call('HGET', key('sequences'), worker)
if not last or sequence > tonumber(last) then
  make_room()
  lease()
  remember()
end

local jobs = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', key('held:' .. worker), int(sequence), int(sequence))) do
  jobs[#jobs + 1] = load_job(id_of(name))
end
table.sort(jobs, function(one, other)
  if one.ready_at ~= other.ready_at then
    return one.ready_at < other.ready_at
  end
  return one.number < other.number
end)
local answer = {}
for i, job in ipairs(jobs) do
  answer[i] = {job.id, int(job.epoch), int(job.attempt), redis.call('HGET', key('bodies'), job.id)}
end
return answer
