-- The log has these ends now: their offsets are settled. ARGV: now, generation, index, then three for each: kind, id, time. One that
-- is not there any more, or came anew since, is left as it is.

local _, refused = stored_epoch()
if refused then
  return refused
end
make_room()
for at = 4, #ARGV, 3 do
  local kind, id = ARGV[at], ARGV[at + 1]
  if tonumber(is_unwritten(kind, id) or -1) == tonumber(ARGV[at + 2]) then
    drop_unwritten(kind, id)
    if kind == 'd' then
      local job = load_job(id)
      let_go(job)
      save_job(job)
    else
      let_parked_go(id)
    end
  end
end
return {'ok'}
