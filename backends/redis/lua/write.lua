-- Takes one range of one partition. ARGV: now, generation, index, epoch, partition, from, to, the last record's offset, checksum
-- and time (empty where there is none), 1 if the range begins its partition, then seven for each item in order of offset: kind, offset, id, dedup ('=' and the
-- id, or empty), ready_at, not_before, body.

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
elseif not mark and ARGV[11] == '0' then
  return {'missing'}  -- a failover can lose what was written before, and keep the fence
end

local queued, duplicates, redelivered, parked, ended = 0, 0, 0, 0, 0

-- What lies below may have ended before this Redis forgot; see restore.lua.
local restored = tonumber(redis.call('HGET', key('restored'), ARGV[5]) or 0)

local function has_ended(offset)
  return offset < restored
    and (offset < tonumber(redis.call('HGET', key('settled'), ARGV[5]))
      or redis.call('GETBIT', piece_of(partition, offset), int(offset % PIECE)) == 1)
end

-- All jobs are looked up together, and the new ones written together at the end: calls for each of them would take most of the
-- time. Until then they are in these tables alone: `jobs` has records by id, `firsts` and `successors` have ids by dedup id.
local jobs, firsts, successors = {}, {}, {}
local new_jobs, new_bodies, new_firsts, new_successors = {}, {}, {}, {}

local ITEMS = 12  -- where they begin in ARGV
local PIECES = 1000  -- words to one call: Lua has room for some 8,000 on its stack

local function read_all(hash, fields)
  local values = {}
  for first = 1, #fields, PIECES do
    for _, value in ipairs(redis.call('HMGET', key(hash), unpack(fields, first, math.min(first + PIECES - 1, #fields)))) do
      values[#values + 1] = value
    end
  end
  return values
end

local function write_all(command, where, words)
  for first = 1, #words, PIECES do
    redis.call(command, where, unpack(words, first, math.min(first + PIECES - 1, #words)))
  end
end

local function look_up()
  local ids, dedups = {}, {}
  for at = ITEMS, #ARGV, 7 do
    if ARGV[at] == 'job' then
      ids[#ids + 1] = ARGV[at + 2]
      if ARGV[at + 3] ~= '' then
        dedups[#dedups + 1] = ARGV[at + 3]
      end
    end
  end
  for i, text in ipairs(read_all('states', ids)) do
    jobs[ids[i]] = jobs[ids[i]] or job_of(ids[i], text)
  end
  for i, first in ipairs(read_all('firsts', dedups)) do
    firsts[dedups[i]] = first
  end
end

local function redeliver(job, offset)
  redelivered = redelivered + 1
  if job.state == DEAD and not is_unwritten('d', job.id) then
    add_unwritten('d', job.id)  -- somebody submitted it again: this place is kept until he has it run, or the log has its end anew
  end
  if job.partition ~= partition or job.offset ~= offset then  -- the same place comes again after an attempt that broke off
    let_go(job)
  end
  hold(job, partition, offset)
  if job.number then  -- else it came earlier in this range, and is not written yet
    save_job(job)
    if job.state == PENDING then
      readied = readied + 1
    end
  end
  return true
end

-- Its number, and with that its place in the order, it gets at the end.
local function insert(at, follows)
  local id, late = ARGV[at + 2], follows == 1 or tonumber(ARGV[at + 5]) > now
  local job = {
    id = id, state = late and DELAYED or PENDING, ready_at = ARGV[at + 4], follows = follows, dedup = ARGV[at + 3],
  }
  hold(job, partition, tonumber(ARGV[at + 1]))
  jobs[id] = job
  queued = queued + 1
  new_jobs[queued] = job
  new_bodies[2 * queued - 1], new_bodies[2 * queued] = id, ARGV[at + 6]
end

local function has_successor(dedup)
  return successors[dedup] or redis.call('HEXISTS', key('successors'), dedup) == 1
end

-- Returns whether the offset is held by a job now.
local function take(at)
  local id, dedup = ARGV[at + 2], ARGV[at + 3]
  local known = jobs[id]
  if known then
    return redeliver(known, tonumber(ARGV[at + 1]))
  end
  local first = dedup ~= '' and firsts[dedup]
  if not first then
    if dedup ~= '' then
      firsts[dedup] = id
      new_firsts[#new_firsts + 1] = dedup
      new_firsts[#new_firsts + 1] = id
    end
    insert(at, 0)
    return true
  end
  if (jobs[first] or load_job(first)).state ~= IN_FLIGHT or has_successor(dedup) then
    duplicates = duplicates + 1
    return false
  end
  successors[dedup] = id
  new_successors[#new_successors + 1] = dedup
  new_successors[#new_successors + 1] = id
  insert(at, 1)
  return true
end

local function park(at)
  local id = ARGV[at + 2]
  redis.call('HSET', key('parked'), id, int(now) .. ' ' .. ARGV[at + 6])
  redis.call('ZADD', key('parked_ids'), '0', id)
  hold_parked(id, partition, tonumber(ARGV[at + 1]))
  add_unwritten('p', id)
  parked = parked + 1
  return true
end

-- Bodies come first and what points to a job last, so that an error on the way leaves nothing that leads nowhere.
local function write_new()
  if queued == 0 then
    return
  end
  local number = redis.call('HINCRBY', key('fence'), 'inserted', queued) - queued
  write_all('HSET', key('bodies'), new_bodies)
  local sets, records = {}, {}
  for i, job in ipairs(new_jobs) do
    job.number = number + i
    local set, score, name = place(job)
    local words = sets[set] or {}
    sets[set] = words
    words[#words + 1] = score
    words[#words + 1] = name
    records[2 * i - 1], records[2 * i] = job.id, new_record(job, ARGV[5])
    if job.state == PENDING then
      readied = readied + 1
    end
  end
  for set, words in pairs(sets) do
    write_all('ZADD', set, words)
  end
  write_all('HSET', key('states'), records)
  write_all('HSET', key('firsts'), new_firsts)
  write_all('HSET', key('successors'), new_successors)
end

-- The first write may need memory: at maxmemory the script ends here and nothing is written. The mark moves last: an error on the
-- way, which undoes nothing of what came before it, leaves the range to be written again, and each job knows its own id.
redis.call('HSETNX', key('settled'), ARGV[5], int(from))
look_up()
local open = from
for at = ITEMS, #ARGV, 7 do
  local offset, held = tonumber(ARGV[at + 1]), false
  if has_ended(offset) then
    ended = ended + 1
  elseif ARGV[at] == 'job' then
    held = take(at)
  else
    held = park(at)
  end
  if held then
    settle(partition, open, offset)
    open = offset + 1
  end
end
settle(partition, open, to)
write_new()
if ARGV[8] ~= '' then
  add_checkpoint(ARGV[5], ARGV[8], ARGV[9], ARGV[10])
end
redis.call('HSET', key('marks'), ARGV[5], int(to))
if restored > 0 and to >= restored then
  redis.call('HDEL', key('restored'), ARGV[5])
end
announce()
return {'ok', queued, duplicates, redelivered, parked, ended}
