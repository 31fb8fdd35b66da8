-- Removes dead jobs that hold no offset: their ends were written, and the log has a record now that brings them again. One that holds
-- an offset is left: that record is here already. ARGV: now, then the ids. Answers how many.

make_room()
local count = 0
for at = 2, #ARGV do
  local job = load_job(ARGV[at])
  if job and job.state == DEAD and not still_holds(job) then
    leave(job)
    drop_unwritten('d', job.id)
    remove(job)
    count = count + 1
  end
end
return count
