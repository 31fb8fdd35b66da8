-- What stood where the relay went past: the hash `checkpoints` has for a partition `offset checksum time` of some records, in
-- order of offset. Which stay is said by backends/checkpoints.py.

local function checkpoints(field)
  local found = {}
  local text = redis.call('HGET', key('checkpoints'), field) or ''
  for offset, sum, time in string.gmatch(text, '(%d+) (%d+) (%d+)') do
    found[#found + 1] = {offset = tonumber(offset), text = offset .. ' ' .. sum .. ' ' .. time}
  end
  return found
end

local function add_checkpoint(field, offset, sum, time)
  local newest, near, older = tonumber(offset), 0, checkpoints(field)
  local kept = {offset .. ' ' .. sum .. ' ' .. time}
  for _, one in ipairs(older) do
    if one.offset > newest then
      kept[#kept + 1] = one.text
    end
  end
  for i = #older, 1, -1 do
    local distance = newest - older[i].offset
    if distance > 0 and (i == 1 or newest - older[i - 1].offset > 2 * near) then
      near = distance
      table.insert(kept, 1, older[i].text)
    end
  end
  redis.call('HSET', key('checkpoints'), field, table.concat(kept, ' '))
end

local function drop_checkpoints(field, from)
  local found, kept = checkpoints(field), {}
  for _, one in ipairs(found) do
    if one.offset < from then
      kept[#kept + 1] = one.text
    end
  end
  if #kept < #found then
    redis.call('HSET', key('checkpoints'), field, table.concat(kept, ' '))
  end
end
