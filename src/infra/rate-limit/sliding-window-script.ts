import { BUCKETS } from "./budget.ts";

/**
 * The sliding window in Redis, for `customIncrTtlLuaScript` of rate-limiter-flexible: ARGV is the cost, the window
 * (unused), the budget and the window again, in seconds. It returns what is spent with this call, and a time in
 * milliseconds: until the budget is whole again, or, when the call is too much, until there is room for it. Then it
 * is not counted.
 *
 * A key is a hash: `at` is the grain when it was last tidied, `total` the sum of what counts since then, and a
 * field for each grain in which something was spent, of which at most 65 are there. Most calls come in the grain of
 * the one before, and touch three fields. Redis's clock is the same for all processes; should it be set back, time
 * stands still until it has caught up, for a window at most.
 */
export const slidingWindowScript = `
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local cost, limit, window = tonumber(ARGV[1]), tonumber(ARGV[3]), ARGV[4] * 1000
local grain = math.floor(ms * ${BUCKETS} / window)
local kept = redis.call('HMGET', KEYS[1], 'at', 'total', grain)
local at, total, count = tonumber(kept[1]), tonumber(kept[2]), tonumber(kept[3]) or 0
local tidied = false
if not at or at < grain - ${BUCKETS} or at > grain + ${BUCKETS} then
  if at then redis.call('DEL', KEYS[1]) end
  at, total, count = nil, 0, 0
elseif at > grain then
  grain, count = at, tonumber(redis.call('HGET', KEYS[1], at)) or 0
elseif at < grain then
  local gone = {}
  for one = at - ${BUCKETS}, grain - ${BUCKETS + 1} do gone[#gone + 1] = one end
  local counts = redis.call('HMGET', KEYS[1], unpack(gone))
  local before = total
  for index = 1, #gone do total = total - (tonumber(counts[index]) or 0) end
  if total < before then redis.call('HDEL', KEYS[1], unpack(gone)) end
  tidied = true
end
local function untilGone(one) return math.ceil((one + ${BUCKETS + 1}) * window / ${BUCKETS} - ms) end
if total + cost <= limit then
  redis.call('HSET', KEYS[1], 'at', grain, 'total', total + cost, grain, count + cost)
  if at ~= grain then redis.call('PEXPIRE', KEYS[1], math.ceil(window * ${BUCKETS + 2} / ${BUCKETS})) end
  return {total + cost, untilGone(grain)}
end
if tidied then redis.call('HSET', KEYS[1], 'at', grain, 'total', total) end
local grains = {}
for one = grain - ${BUCKETS}, grain do grains[#grains + 1] = one end
local counts = redis.call('HMGET', KEYS[1], unpack(grains))
local left = total
for index = 1, #grains do
  left = left - (tonumber(counts[index]) or 0)
  if left + cost <= limit then return {total + cost, math.max(1, untilGone(grains[index]))} end
end
return {total + cost, untilGone(grain)}
`;
