-- Stands before every script: names, clock, and a job's record.
-- KEYS[1] is the topic's prefix; every key of the topic begins with it, hash tag included. ARGV[1] is the time in Unix ms, or
-- empty: then it is this server's.
-- No script uses a key that expires, blocks, or reads what it does not name: a run depends on its arguments and the data alone.

local PENDING, DELAYED, RETRYING, IN_FLIGHT, DEAD = 0, 1, 2, 3, 4

local function key(name)
  return KEYS[1] .. name
end

-- `..` would write large numbers with an exponent.
local function int(number)
  return string.format('%.0f', number)
end

local now = tonumber(ARGV[1])
local microseconds
if now then
  microseconds = now * 1000
else
  local time = redis.call('TIME')
  microseconds = tonumber(time[1]) * 1000000 + tonumber(time[2])
  now = math.floor(microseconds / 1000)
end

-- At maxmemory Redis refuses a script at its first write, if that one may need memory, and never after a write that frees (DEL
-- does, also of a key that is not there). So whatever empties the queue calls this before its first write. Only `write`, which
-- fills it, does not.
local function make_room()
  redis.call('DEL', key('room'))
end

-- A job's record in the hash `states`: numbers, the lengths of the strings, the strings. What the worker gets (type, arguments,
-- headers) is in the hash `bodies`, written once and never read by a script.
local NUMBERS = {'state', 'ready_at', 'number', 'follows', 'partition', 'offset', 'holds', 'attempt', 'sequence', 'epoch'}
local STRINGS = {'worker', 'dedup', 'error'}
local RECORD = '^' .. string.rep('(%d+) ', #NUMBERS + #STRINGS) .. '()'

local FORMAT = string.rep('%.0f ', #NUMBERS + #STRINGS)

-- The job whose record is `text`; nil where there is none.
local function job_of(id, text)
  if not text then
    return nil
  end
  local found = {string.match(text, RECORD)}
  local job = {id = id}
  for i, name in ipairs(NUMBERS) do
    job[name] = tonumber(found[i])
  end
  local from = tonumber(found[#found])
  for i, name in ipairs(STRINGS) do
    local size = tonumber(found[#NUMBERS + i])
    job[name] = string.sub(text, from, from + size - 1)
    from = from + size
  end
  return job
end

local function load_job(id)
  return job_of(id, redis.call('HGET', key('states'), id))
end

-- In the order of NUMBERS and STRINGS, written out: a loop over the names would take several times as long.
local function record_of(job)
  return string.format(
    FORMAT, job.state, job.ready_at, job.number, job.follows, job.partition, job.offset, job.holds, job.attempt, job.sequence,
    job.epoch, #job.worker, #job.dedup, #job.error
  ) .. job.worker .. job.dedup .. job.error
end

-- The same of a job that no worker has had yet. `ready_at` and `partition` are text: it is formatting numbers that takes time.
local function new_record(job, partition)
  return job.state .. ' ' .. job.ready_at .. ' ' .. int(job.number) .. ' ' .. job.follows .. ' ' .. partition .. ' '
    .. int(job.offset) .. ' ' .. job.holds .. ' 0 0 0 0 ' .. #job.dedup .. ' 0 ' .. job.dedup
end

local function save_job(job)
  redis.call('HSET', key('states'), job.id, record_of(job))
end
