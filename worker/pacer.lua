-- Reservations at one rate for everybody who uses the bucket (GCRA), on this server's own clock.
-- All times are in microseconds; µs since 1970 stay exact in Lua's doubles until the year 2255.
--
-- KEYS[1]  the bucket, a hash:
--            born    when it was made; tells a bucket from the one that was there before a flush
--            next    when the next free slot is; lies in the past while there is burst to give
--            seen    the clock at the last visit
--            share   the part of the full rate that was left after the last cut, 0..1
--            cut     when that was; since then the share has been growing
--            deaf    until when further throttles belong to the same storm
--            wary    until when a new storm means that the rate is too high, and cuts it
--            told    how many throttles there have been since nobody was wary
-- ARGV[1]  what to do
-- ARGV[2]  µs between two slots at the full rate
-- ARGV[3]  own burst, in calls
--
-- ARGV[1] = "reserve":  ARGV[4] the horizon in µs
--            returns {1, µs until the caller's own slot, the slot, born}
--                 or {0, µs until the next free slot, that slot, born} when it lies beyond the horizon;
--                    then nothing is reserved
-- ARGV[1] = "slow":     ARGV[4] the quota's burst, in calls
--            returns 2 when the rate was cut for everybody, 1 when everybody rests while AWS's bucket fills
--                 up again, 0 when this storm has been answered already
-- Whoever only wants to look reads the hash; see pacer.py.

local CUT = 0.7                 -- a throttle leaves 70 % of the rate ...
local LEAST_SHARE = 0.05        -- ... but never less than 5 % of the full one ...
local REGAIN_PER_SECOND = 0.01  -- ... and each second gives 1 % of the full rate back (pacer.py knows it too).
local ANSWER_TAKES = 1e6        -- a request sent before a cut may bring its throttle up to 1 s after it
local LONGEST_STORM = 10e6
local LEAST_WARY = 10e6         -- so soon after the last storm a new one is no accident ...
local ACCIDENTS = 0.01 * LEAST_WARY -- ... unless both together threw back fewer than 1 % of that time's calls.
local KEEP_MILLISECONDS = 3600e3

local task, full_interval, burst = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]
local state = redis.call('HMGET', KEYS[1], 'born', 'next', 'seen', 'share', 'cut', 'deaf', 'wary', 'told')
local born = tonumber(state[1] or '')
local next_slot, seen, share, cut, deaf, wary
local told = tonumber(state[8]) or 0

if born then
  next_slot, seen, share = tonumber(state[2]), tonumber(state[3]), tonumber(state[4])
  cut, deaf, wary = tonumber(state[5]), tonumber(state[6]), tonumber(state[7]) or now
else
  -- The first user, or this server lost its memory. What was handed out a moment ago is not known, so the
  -- bucket starts empty: no burst, and one whole interval until the first slot.
  born, seen, share, cut, deaf, wary = now, now, 1, now, now, now
  next_slot = now + full_interval
end

if now < seen then
  -- The clock was set back. Slots keep their distance from now: neither is a slot handed out twice nor does
  -- anybody wait for the old time to come round again.
  local step = seen - now
  next_slot, cut, deaf, wary = next_slot - step, cut - step, deaf - step, wary - step
end

share = math.min(1, share + (now - cut) / 1e6 * REGAIN_PER_SECOND)
cut = now
local interval = full_interval / share
-- Idle time is worth `burst` calls at most: one for now, and burst - 1 intervals of arrears.
next_slot = math.max(next_slot, now - (burst - 1) * interval)
local slot = math.max(now, next_slot)

local answer
if task == 'reserve' then
  if slot - now <= tonumber(ARGV[4]) then
    next_slot = next_slot + interval
    answer = {1, slot - now, slot, born}
  else
    answer = {0, slot - now, slot, born}
  end
elseif now < deaf then
  told = told + 1
  answer = 0
else
  told = now < wary and told + 1 or 1
  if now < wary and told > ACCIDENTS / full_interval then
    share = math.max(LEAST_SHARE, share * CUT)
    answer = 2
  else
    -- A storm out of the blue is most likely a hiccup, on the network or in a worker, which bunched calls
    -- up and emptied AWS's bucket. It would stay empty at our full rate; leaving out as many slots as it
    -- holds fills it, and costs less than a lower rate would.
    next_slot = math.max(next_slot, now) + tonumber(ARGV[4]) * full_interval
    answer = 1
  end
  -- Slots that were handed out at the old rate will bring more throttles; those say nothing about the new one.
  deaf = math.min(slot, now + LONGEST_STORM) + ANSWER_TAKES
  wary = deaf + math.max(LEAST_WARY, 3 * tonumber(ARGV[4]) * full_interval)
  next_slot = math.max(next_slot, now + full_interval / share)
end

-- %.17g writes a double so that it reads back the same; Lua's own tostring keeps 14 digits.
local function exact(number) return string.format('%.17g', number) end
redis.call('HSET', KEYS[1], 'born', exact(born), 'next', exact(next_slot), 'seen', exact(now),
  'share', exact(share), 'cut', exact(cut), 'deaf', exact(deaf), 'wary', exact(wary), 'told', told)
-- An idle bucket goes. By then it has long been full, and a new one starts empty, so that gives nobody a burst.
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', KEEP_MILLISECONDS + math.max(0, next_slot - now) / 1e3))
return answer
