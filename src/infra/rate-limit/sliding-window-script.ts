import { BUCKETS } from "./budget.ts";

/**
 * The sliding window in Redis, as `customIncrTtlLuaScript` of rate-limiter-flexible. ARGV: the cost, the window
 * (unused), the budget and the window again, in seconds. Returns the units spent including this call, and a time in
 * milliseconds: until the whole budget is available again or, if the call exceeds the budget, until its cost is
 * available. Such a call is not counted.
 *
 * A key is a hash: `at` is the bucket in which it was last updated, `total` the sum of the units that counted then,
 * and each bucket in which units were spent is a field, 65 at most. Most calls fall into the bucket of the one
 * before and touch three fields. The server's clock is the same for all processes. If it is set back, the bucket of the
 * last update remains the current one until the clock has caught up, for one window at most.
 */
export const slidingWindowScript = `
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local cost, limit, window = tonumber(ARGV[1]), tonumber(ARGV[3]), ARGV[4] * 1000
local now = math.floor(ms * ${BUCKETS} / window)
local stored = redis.call('HMGET', KEYS[1], 'at', 'total', now)
local at, total, count = tonumber(stored[1]), tonumber(stored[2]), tonumber(stored[3]) or 0
local updated = false
if not at or at < now - ${BUCKETS} or at > now + ${BUCKETS} then
  if at then redis.call('DEL', KEYS[1]) end
  at, total, count = nil, 0, 0
elseif at > now then
  now, count = at, tonumber(redis.call('HGET', KEYS[1], at)) or 0
elseif at < now then
  local expired = {}
  for bucket = at - ${BUCKETS}, now - ${BUCKETS + 1} do expired[#expired + 1] = bucket end
  local counts = redis.call('HMGET', KEYS[1], unpack(expired))
  local before = total
  for index = 1, #expired do total = total - (tonumber(counts[index]) or 0) end
  if total < before then redis.call('HDEL', KEYS[1], unpack(expired)) end
  updated = true
end
local function expires_in(bucket) return math.ceil((bucket + ${BUCKETS + 1}) * window / ${BUCKETS} - ms) end
if total + cost <= limit then
  redis.call('HSET', KEYS[1], 'at', now, 'total', total + cost, now, count + cost)
  if at ~= now then redis.call('PEXPIRE', KEYS[1], math.ceil(window * ${BUCKETS + 2} / ${BUCKETS})) end
  return {total + cost, expires_in(now)}
end
if updated then redis.call('HSET', KEYS[1], 'at', now, 'total', total) end
local buckets = {}
for bucket = now - ${BUCKETS}, now do buckets[#buckets + 1] = bucket end
local counts = redis.call('HMGET', KEYS[1], unpack(buckets))
local left = total
for index = 1, #buckets do
  left = left - (tonumber(counts[index]) or 0)
  if left + cost <= limit then return {total + cost, math.max(1, expires_in(buckets[index]))} end
end
return {total + cost, expires_in(now)}
`;
