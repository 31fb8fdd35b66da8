-- Makes due jobs pending, the one that is due longest first. ARGV: now, limit. Answers how many, and when the next is due or -1.

local limit = tonumber(ARGV[2])

local function due(set)
  return redis.call('ZRANGEBYSCORE', key(set), '-inf', int(now), 'LIMIT', 0, int(limit))
end

local jobs = {}
for _, set in ipairs({'delayed', 'retrying'}) do
  for _, name in ipairs(due(set)) do
    jobs[#jobs + 1] = load_job(id_of(name))
  end
end
table.sort(jobs, function(one, other)
  if one.ready_at ~= other.ready_at then
    return one.ready_at < other.ready_at
  end
  return one.number < other.number
end)
make_room()
local count = math.min(#jobs, limit)
for i = 1, count do
  to_pending(jobs[i], 0)
end

local next_due = -1
for _, set in ipairs({'delayed', 'retrying'}) do
  local score = tonumber(redis.call('ZRANGE', key(set), 0, 0, 'WITHSCORES')[2])
  if score and (next_due == -1 or score < next_due) then
    next_due = score
  end
end
announce()
return {count, int(next_due)}
