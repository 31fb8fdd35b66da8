-- Ends other than done that the log does not have yet: the sorted set `unwritten`, by the time they came. A member is `d` and a
-- dead job's id, or `p` and a parked record's. Until the relay has written it, an end leaves its offset unsettled: a dead job by
-- its own hold, a parked record by one in the hash `parked_holds` (partition, offset, holds).

local function add_unwritten(kind, id)
  redis.call('ZADD', key('unwritten'), int(now), kind .. id)
end

local function is_unwritten(kind, id)
  return redis.call('ZSCORE', key('unwritten'), kind .. id)
end

local function drop_unwritten(kind, id)
  redis.call('ZREM', key('unwritten'), kind .. id)
end

local function hold_parked(id, partition, offset)
  local record = {}
  hold(record, partition, offset)
  redis.call('HSET', key('parked_holds'), id, int(partition) .. ' ' .. int(offset) .. ' ' .. int(record.holds))
end

local function let_parked_go(id)
  local partition, offset, holds = string.match(redis.call('HGET', key('parked_holds'), id) or '', '(%d+) (%d+) (%d+)')
  if holds then
    let_go({partition = tonumber(partition), offset = tonumber(offset), holds = tonumber(holds)})
    redis.call('HDEL', key('parked_holds'), id)
  end
end
