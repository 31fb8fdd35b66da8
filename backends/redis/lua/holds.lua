-- Which offset a job keeps from being settled. The hash `rewinds` has for a partition the places that its mark was moved back to,
-- in order of time: the log was cut there. A job's `holds` is 0, or one more than how many there were when it took its offset;
-- an offset at or above a later such place is another record's now, and this job's no more.

local known = {}

local function rewinds(partition)
  if not known[partition] then
    local places = {}
    for place in string.gmatch(redis.call('HGET', key('rewinds'), int(partition)) or '', '%d+') do
      places[#places + 1] = tonumber(place)
    end
    known[partition] = places
  end
  return known[partition]
end

local function hold(job, partition, offset)
  job.partition, job.offset, job.holds = partition, offset, #rewinds(partition) + 1
end

local function still_holds(job)
  if job.holds == 0 then
    return false
  end
  local places = rewinds(job.partition)
  for i = job.holds, #places do
    if job.offset >= places[i] then
      return false
    end
  end
  return true
end
