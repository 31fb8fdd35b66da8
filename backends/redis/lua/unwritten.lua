-- Ends that the log does not have, the oldest first. ARGV: now, generation, index, how many at most, and how many bytes: more are
-- given only where the first alone has more. Answers for each its kind, id, time, record (of a dead job) and body.

local _, refused = stored_epoch()
if refused then
  return refused
end
local answer, bytes = {}, 0
local ends = redis.call('ZRANGE', key('unwritten'), 0, int(tonumber(ARGV[4]) - 1), 'WITHSCORES')
for at = 1, #ends, 2 do
  local kind, id, record, body = string.sub(ends[at], 1, 1), string.sub(ends[at], 2), '', nil
  if kind == 'd' then
    record, body = redis.call('HGET', key('states'), id), redis.call('HGET', key('bodies'), id)
  else
    body = redis.call('HGET', key('parked'), id)
  end
  bytes = bytes + #record + #body
  if #answer > 0 and bytes > tonumber(ARGV[5]) then
    break
  end
  answer[#answer + 1] = {kind, id, int(tonumber(ends[at + 1])), record, body}
end
return {'ok', answer}
