-- Requests in flight of one or several keys, counted over all gateways.
--
-- KEYS: the keys. ARGV: the gateway that asks, how long its permits last in milliseconds, and then four for each key:
--   floor  its requests in flight, which count whatever the others have
--   want   the requests that it would have in flight; never below floor
--   most   the requests that all gateways together may have
--   seq    number of the question: an older one that comes late changes nothing
-- Answers for each key: the permits that the gateway has now, and those of the others.
--
-- A key is a hash of gateways, each with "count until seq": until is a moment of the server's clock in microseconds,
-- after which the permits of this gateway count no more. It has ended, or cannot reach the store.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local own, lease = ARGV[1], tonumber(ARGV[2])
local answer = {}
for i, key in ipairs(KEYS) do
  local floor, want = tonumber(ARGV[i * 4 - 1]), tonumber(ARGV[i * 4])
  local most, seq = tonumber(ARGV[i * 4 + 1]), tonumber(ARGV[i * 4 + 2])
  local others, held, last = 0, 0, 0
  local fields = redis.call('HGETALL', key)
  for j = 1, #fields, 2 do
    local count, till, number = string.match(fields[j + 1], '^(%d+) (%d+) (%d+)$')
    if fields[j] == own then
      held, last = tonumber(count), tonumber(number)
    elseif not till or tonumber(till) <= now then
      redis.call('HDEL', key, fields[j])
    else
      others = others + tonumber(count)
    end
  end
  if seq > last then
    held = math.max(floor, math.min(want, most - others))
    if held > 0 then
      redis.call('HSET', key, own, string.format('%.0f %.0f %.0f', held, now + lease * 1000, seq))
      redis.call('PEXPIRE', key, lease)
    else
      redis.call('HDEL', key, own)
    end
  end
  answer[i * 2 - 1], answer[i * 2] = held, others
end
return answer
