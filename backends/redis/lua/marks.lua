-- Reads the marks for the holder of the fence. ARGV: now, generation, index.

local _, refused = stored_epoch()
return refused or {'ok', marks()}
