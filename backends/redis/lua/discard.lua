-- Removes dead jobs and parked records for good. ARGV: now, then the ids. Answers how many.

make_room()
local count = 0
for at = 2, #ARGV do
  local job = load_job(ARGV[at])
  if job and job.state == DEAD then
    leave(job)
    drop_unwritten('d', job.id)
    let_go(job)
    remove(job)
    count = count + 1
  end
  if redis.call('ZREM', key('parked_ids'), ARGV[at]) == 1 then
    redis.call('HDEL', key('parked'), ARGV[at])
    drop_unwritten('p', ARGV[at])
    let_parked_go(ARGV[at])
    count = count + 1
  end
end
return count
