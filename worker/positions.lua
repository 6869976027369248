-- How far a ledger has come, noted outside of it (campaigns/ledger/positions.py).
--
-- KEYS[1]  a hash: `epoch`, and for each slot the highest position that was noted in this epoch
-- ARGV[1]  the epoch in which the positions below were counted
-- ARGV[2…] slot, position, slot, position, …
-- Returns  the slot's position of ARGV[2] as it is now: the one given, or a higher one;
--          -1, and notes nothing, when a newer epoch is known: the ledger is an older copy, or an operator has
--          just let it go on and this move had begun before.

local known = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '')
local epoch = tonumber(ARGV[1])
if known and known > epoch then
  return -1
end
if known ~= epoch then
  -- An operator has let the ledger go on as it is: what it had lost is not held against it any longer.
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
end
for at = 2, #ARGV, 2 do
  local noted = tonumber(redis.call('HGET', KEYS[1], ARGV[at]) or '')
  if not noted or noted < tonumber(ARGV[at + 1]) then
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  end
end
return tonumber(redis.call('HGET', KEYS[1], ARGV[2]))
