import { THROTTLE_MS } from "../../cache/invalidation/invalidation-throttle.ts";
import type { InvalidationBus } from "../../cache/invalidation-bus.ts";
import { ALL_TAGS, newGeneration } from "../../cache/redis-tier.ts";
import type { OutboxConsumer } from "../consumer/consumer.ts";
import { invalidationTopic, type PublishedInvalidation } from "./invalidation-topic.ts";

/** Time after which a writer has sent all its invalidations, in milliseconds. */
const MIN_AGE_MS = THROTTLE_MS + 100;

/**
 * Creates the consumer that repeats invalidations which their writers have not completed. The writers invalidate the
 * cache themselves after their commits, the throttled ones THROTTLE_MS later at most. So it waits until those are over,
 * and finds most of them complete.
 */
export function createInvalidationConsumer(
  bus: Pick<InvalidationBus, "ensureAllInvalidated" | "invalidate">,
): OutboxConsumer<PublishedInvalidation> {
  return {
    name: "cache-invalidation",
    topics: [invalidationTopic],
    delayMs: MIN_AGE_MS + 50,
    minAgeMs: MIN_AGE_MS,
    limits: { rows: 100_000, ageMs: 60_000 },
    async apply(_tx, events) {
      const invalidations = events.map(({ data }) => ({
        tags: data.tags,
        generation: Buffer.from(data.generation, "base64"),
        throttled: data.throttled.flatMap(([tag, version]) =>
          version === null ? [] : [{ tag, version: BigInt(version) }],
        ),
        immediate: data.throttled.flatMap(([tag, version]) => (version === null ? [tag] : [])),
      }));
      if (!(await bus.ensureAllInvalidated(invalidations))) throw notAccepted();
    },
    async skip() {
      if (!(await bus.invalidate([ALL_TAGS], newGeneration()))) throw notAccepted();
    },
  };
}

const notAccepted = () => new Error("Redis did not accept the invalidations");
