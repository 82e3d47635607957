-- GCRA over one or several buckets that decide together: all of them take, or none does.
--
-- KEYS: the buckets. ARGV, five for each, in nanoseconds:
--   need   what must be there for the request; -1: it is owed, up to ten bursts
--   take   what it then takes; below 0 it is given back
--   ahead  what is wanted besides, for requests to come
--   fill   time in which an empty bucket fills
--   token  length of one token
-- and then one for all:
--   moment how far the tokens ahead may reach beyond an empty bucket
-- Answers 1 or 0 for admitted, then for each bucket its debt before and after.
--
-- A bucket is "at debt fill": microseconds of the server's clock, and how much it owed then. A clock that is set back
-- stops debts from shrinking until it has caught up with nothing; none of them grows by it. A bucket of other numbers
-- keeps the share that is used. Numbers are doubles: whole up to 104 days of debt.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local moment = tonumber(ARGV[#KEYS * 5 + 1])
local admitted = 1
local before = {}
for i, key in ipairs(KEYS) do
  local need, fill = tonumber(ARGV[i * 5 - 4]), tonumber(ARGV[i * 5 - 1])
  local debt = 0
  local at, owed, filled = string.match(redis.call('GET', key) or '', '^(%d+) (%d+) (%d+)$')
  if at then
    debt = math.max(0, owed - math.max(0, now - at) * 1000)
    if tonumber(filled) ~= fill then
      debt = math.ceil(debt * (fill / filled))
    end
  end
  before[i] = debt
  if need >= 0 and debt + need > fill then
    admitted = 0
  end
end
local answer = { admitted }
for i, key in ipairs(KEYS) do
  local need, take, ahead = tonumber(ARGV[i * 5 - 4]), tonumber(ARGV[i * 5 - 3]), tonumber(ARGV[i * 5 - 2])
  local fill, token = tonumber(ARGV[i * 5 - 1]), tonumber(ARGV[i * 5])
  local debt = before[i]
  if admitted == 1 and (take ~= 0 or ahead > 0) then
    if need < 0 and take > 0 then
      debt = math.max(debt, math.min(debt + take, 10 * fill))
    else
      debt = math.max(0, debt + take)
    end
    local room = math.min(ahead, fill + math.min(ahead, moment) - debt)
    if room >= token then
      debt = debt + math.floor(room / token) * token
    end
    if debt > 0 then
      redis.call('SET', key, string.format('%.0f %.0f %.0f', now, debt, fill), 'PX', math.ceil(debt / 1000000) + 1)
    else
      redis.call('DEL', key)
    end
  end
  answer[i * 2] = before[i]
  answer[i * 2 + 1] = debt
end
return answer
