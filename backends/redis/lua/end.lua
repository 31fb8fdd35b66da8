-- Records outcomes, in order. ARGV: now, worker, then five for each: kind, id, epoch, delay in ms, error. Answers 1 or 0 each.

local worker = ARGV[2]

local function done(job)
  leave(job)
  let_go(job)
  remove(job)
  start_successor(job)
end

local function dead(job, _, error)
  leave(job)
  unlease(job)
  job.state, job.error = DEAD, error
  enter(job)
  add_unwritten('d', job.id)
  start_successor(job)
end

local function again(job, delay, error)
  leave(job)
  unlease(job)
  job.state, job.ready_at, job.error = delay > 0 and RETRYING or PENDING, now + delay, error
  enter(job)
end

local function release(job)
  to_pending(job, 1)
end

local RECORD_OUTCOME = {done = done, dead = dead, retry = again, release = release}

make_room()
local answer = {}
for at = 3, #ARGV, 5 do
  local job = load_job(ARGV[at + 1])
  local valid = job and job.state == IN_FLIGHT and job.worker == worker and job.epoch == tonumber(ARGV[at + 2])
  if valid then
    RECORD_OUTCOME[ARGV[at]](job, tonumber(ARGV[at + 3]), ARGV[at + 4])
  end
  answer[#answer + 1] = valid and 1 or 0
end
announce()
return answer
