-- Takes one range of one partition. ARGV: now, generation, index, epoch, partition, from, to, the last record's offset, checksum
-- and time (empty where there is none), then seven for each item in order of offset: kind, offset, id, dedup ('=' and the id, or empty), ready_at, not_before, body.

local epoch, refused = stored_epoch()
if refused then
  return refused
elseif epoch ~= ARGV[4] then
  return {'missing'}
end
local partition, from, to = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local mark = redis.call('HGET', key('marks'), ARGV[5])
if mark and tonumber(mark) ~= from then
  return {'mismatch', mark}
end

local queued, duplicates, redelivered, parked, ended = 0, 0, 0, 0, 0

-- What lies below may have ended before this Redis forgot; see restore.lua.
local restored = tonumber(redis.call('HGET', key('restored'), ARGV[5]) or 0)

local function has_ended(offset)
  return offset < restored
    and (offset < tonumber(redis.call('HGET', key('settled'), ARGV[5]))
      or redis.call('GETBIT', piece_of(partition, offset), int(offset % PIECE)) == 1)
end

local function redeliver(job, offset)
  redelivered = redelivered + 1
  if job.state == DEAD then
    return false
  end
  if job.partition ~= partition or job.offset ~= offset then  -- the same place comes again after an attempt that broke off
    let_go(job)
  end
  hold(job, partition, offset)
  save_job(job)
  if job.state == PENDING then
    readied = readied + 1
  end
  return true
end

local function insert(item, follows)
  local number = redis.call('HINCRBY', key('fence'), 'inserted', 1)
  local late = item.not_before > now or follows == 1
  redis.call('HSET', key('bodies'), item.id, item.body)
  local job = {
    id = item.id, state = late and DELAYED or PENDING, ready_at = item.ready_at, number = number, follows = follows,
    attempt = 0, sequence = 0, epoch = 0, worker = '', dedup = item.dedup, error = '',
  }
  hold(job, partition, item.offset)
  enter(job)
  queued = queued + 1
end

-- Returns whether the item's offset is held by a job now.
local function take(item)
  local known = load_job(item.id)
  if known then
    return redeliver(known, item.offset)
  end
  local first = item.dedup ~= '' and redis.call('HGET', key('firsts'), item.dedup)
  if not first then
    if item.dedup ~= '' then
      redis.call('HSET', key('firsts'), item.dedup, item.id)
    end
    insert(item, 0)
    return true
  end
  if load_job(first).state ~= IN_FLIGHT or redis.call('HEXISTS', key('successors'), item.dedup) == 1 then
    duplicates = duplicates + 1
    return false
  end
  redis.call('HSET', key('successors'), item.dedup, item.id)
  insert(item, 1)
  return true
end

local function park(item)
  redis.call('HSET', key('parked'), item.id, int(now) .. ' ' .. item.body)
  redis.call('ZADD', key('parked_ids'), '0', item.id)
  parked = parked + 1
  return false
end

-- The first write may need memory: at maxmemory the script ends here and nothing is written. The mark moves last: an error on the
-- way, which undoes nothing of what came before it, leaves the range to be written again, and each job knows its own id.
redis.call('HSETNX', key('settled'), ARGV[5], int(from))
local open = from
for at = 11, #ARGV, 7 do
  local item = {
    offset = tonumber(ARGV[at + 1]), id = ARGV[at + 2], dedup = ARGV[at + 3],
    ready_at = tonumber(ARGV[at + 4]), not_before = tonumber(ARGV[at + 5]), body = ARGV[at + 6],
  }
  local held = false
  if has_ended(item.offset) then
    ended = ended + 1
  elseif ARGV[at] == 'job' then
    held = take(item)
  else
    held = park(item)
  end
  if held then
    settle(partition, open, item.offset)
    open = item.offset + 1
  end
end
settle(partition, open, to)
if ARGV[8] ~= '' then
  add_checkpoint(ARGV[5], ARGV[8], ARGV[9], ARGV[10])
end
redis.call('HSET', key('marks'), ARGV[5], int(to))
if restored > 0 and to >= restored then
  redis.call('HDEL', key('restored'), ARGV[5])
end
announce()
return {'ok', queued, duplicates, redelivered, parked, ended}
