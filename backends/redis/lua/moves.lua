-- How a job goes from state to state. Each state has a sorted set: `pending`, `delayed`, `retrying`, `following` by the time it
-- may start, `held:<worker>` by the sequence of its claim, `dead` by id. Members begin with the job's number in six bytes, so
-- that equal scores are in order of insertion.

local readied = 0

local upper, upper_bytes

local function member(job)
  local low = job.number % 65536
  if upper ~= job.number - low then  -- the same for many jobs in a row
    upper = job.number - low
    local bytes, rest = {}, upper / 65536
    for i = 4, 1, -1 do
      bytes[i] = rest % 256
      rest = math.floor(rest / 256)
    end
    upper_bytes = string.char(bytes[1], bytes[2], bytes[3], bytes[4])
  end
  return upper_bytes .. string.char(math.floor(low / 256), low % 256) .. job.id
end

local function id_of(name)
  return string.sub(name, 7)
end

local SETS = {[PENDING] = 'pending', [DELAYED] = 'delayed', [RETRYING] = 'retrying'}

local function place(job)
  if job.state == IN_FLIGHT then
    return key('held:' .. job.worker), int(job.sequence), member(job)
  elseif job.state == DEAD then
    return key('dead'), '0', job.id
  elseif job.follows == 1 then
    return key('following'), int(job.ready_at), member(job)
  end
  return key(SETS[job.state]), int(job.ready_at), member(job)
end

local function leave(job)
  local set, _, name = place(job)
  redis.call('ZREM', set, name)
end

local function enter(job)
  local set, score, name = place(job)
  redis.call('ZADD', set, score, name)
  save_job(job)
  if job.state == PENDING then
    readied = readied + 1
  end
end

local function unlease(job)
  job.worker, job.sequence, job.epoch = '', 0, 0
end

local function to_pending(job, refunded)
  leave(job)
  unlease(job)
  job.state, job.attempt = PENDING, job.attempt - refunded
  enter(job)
end

local function remove(job)
  redis.call('HDEL', key('states'), job.id)
  redis.call('HDEL', key('bodies'), job.id)
end

local function let_go(job)
  if still_holds(job) then
    settle(job.partition, job.offset, job.offset + 1)
  end
  job.holds = 0
end

-- The job has ended: the one that followed it takes its place.
local function start_successor(job)
  if job.dedup == '' then
    return
  end
  if redis.call('HGET', key('firsts'), job.dedup) == job.id then
    redis.call('HDEL', key('firsts'), job.dedup)
  end
  local successor = redis.call('HGET', key('successors'), job.dedup)
  if not successor then
    return
  end
  redis.call('HDEL', key('successors'), job.dedup)
  redis.call('HSET', key('firsts'), job.dedup, successor)
  local following = load_job(successor)
  leave(following)
  following.follows = 0
  following.state = following.ready_at > now and DELAYED or PENDING
  enter(following)
end

-- Wakes whoever waits for a job of this topic; allowed at maxmemory.
local function announce()
  if readied > 0 then
    redis.call('PUBLISH', 'forebay:ready', KEYS[1])
  end
end
