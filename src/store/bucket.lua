-- GCRA over one or several buckets that decide together: all of them take, or none does.
--
-- KEYS: the buckets. ARGV, seven for each, in nanoseconds:
--   need   what must be there for the request; -1 for what is given back or owed
--   take   what it then takes; below 0 it is given back. What is owed is taken up to a debt of ten bursts
--   ahead  what is wanted besides, for requests to come
--   fill   time in which an empty bucket fills
--   token  length of one token
--   since  when what is given back was taken, in microseconds of the server's clock
--   reach  how far it reached from then, and how far the bucket had moved
-- and then one for all:
--   moment how far the tokens ahead may reach beyond an empty bucket
-- Answers 1 or 0 for admitted and the server's clock, then for each bucket its debt before and after, and how far it
-- has moved.
--
-- A bucket is "at debt fill born moved": microseconds of the server's clock, and how much it owed then. A clock that is
-- set back stops debts from shrinking until it has caught up with nothing; none of them grows by it. A bucket of other
-- numbers keeps the share that is used. Numbers are doubles: whole up to 104 days of debt.
--
-- What is given back moves up whoever took tokens later. Nobody may come to have used a token after its begin: so only
-- what has not begun comes back, counting in how far it may itself have moved; nothing of what was taken before
-- "born", when the bucket was last full, had other numbers, or gave tokens ahead, whose holder cannot be told.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local moment = tonumber(ARGV[#KEYS * 7 + 1])
local admitted = 1
local before, births, moves = {}, {}, {}
for i, key in ipairs(KEYS) do
  local need, fill = tonumber(ARGV[i * 7 - 6]), tonumber(ARGV[i * 7 - 3])
  local debt, born, moved = 0, now, 0
  local value = redis.call('GET', key) or ''
  local at, owed, filled, birth, move = string.match(value, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  if at then
    debt = math.max(0, owed - math.max(0, now - at) * 1000)
    if tonumber(filled) ~= fill then
      debt, born = math.ceil(debt * (fill / filled)), now + 1
    elseif debt > 0 then
      born, moved = tonumber(birth), tonumber(move)
    end
  end
  before[i], births[i], moves[i] = debt, born, moved
  if need >= 0 and debt + need > fill then
    admitted = 0
  end
end
local answer = { admitted, now }
for i, key in ipairs(KEYS) do
  local need, take, ahead = tonumber(ARGV[i * 7 - 6]), tonumber(ARGV[i * 7 - 5]), tonumber(ARGV[i * 7 - 4])
  local fill, token = tonumber(ARGV[i * 7 - 3]), tonumber(ARGV[i * 7 - 2])
  local since, reach = tonumber(ARGV[i * 7 - 1]), tonumber(ARGV[i * 7])
  local debt, born, moved = before[i], births[i], moves[i]
  if need < 0 and take > 0 then
    take = math.max(0, math.min(take, 10 * fill - debt))
  end
  if take < 0 then
    local rest = since >= born and reach - moved - math.max(0, now - since) * 1000 or 0
    take = -math.max(0, math.min(-take, rest, debt))
    moved = moved - take
  end
  if admitted == 1 and (take ~= 0 or ahead > 0) then
    debt = debt + take
    local room = math.min(ahead, fill + math.min(ahead, moment) - debt)
    if room >= token then
      debt = debt + math.floor(room / token) * token
      born, moved = now + 1, 0
    end
    if debt > 0 then
      local value = string.format('%.0f %.0f %.0f %.0f %.0f', now, debt, fill, born, moved)
      redis.call('SET', key, value, 'PX', math.ceil(debt / 1000000) + 1)
    else
      redis.call('DEL', key)
    end
  end
  answer[i * 3], answer[i * 3 + 1], answer[i * 3 + 2] = before[i], debt, moved
end
return answer
