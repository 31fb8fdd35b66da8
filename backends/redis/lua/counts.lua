-- Counts by state, from the sizes of the sets: what is in none of them is in flight.

local function size(set)
  return redis.call('ZCARD', key(set))
end

local pending, delayed, retrying, dead = size('pending'), size('delayed') + size('following'), size('retrying'), size('dead')
local in_flight = redis.call('HLEN', key('states')) - pending - delayed - retrying - dead
return {pending, delayed, retrying, in_flight, dead, size('parked_ids')}
