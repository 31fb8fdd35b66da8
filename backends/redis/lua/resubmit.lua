-- Dead jobs that hold their offsets to pending with a fresh attempt count. A dedup id that another job has meanwhile is dropped: a person asked for this
-- run. ARGV: now, then the ids. Answers how many.

make_room()
local count = 0
for at = 2, #ARGV do
  local job = load_job(ARGV[at])
  if job and job.state == DEAD and still_holds(job) then
    leave(job)
    drop_unwritten('d', job.id)
    job.state, job.attempt, job.error, job.ready_at = PENDING, 0, '', now
    if job.dedup ~= '' and redis.call('HSETNX', key('firsts'), job.dedup, job.id) == 0 then
      job.dedup = ''
    end
    enter(job)
    count = count + 1
  end
end
announce()
return count
