import { THROTTLE_MS } from "../../cache/invalidation/invalidation-throttle.ts";
import type { InvalidationBus } from "../../cache/invalidation-bus.ts";
import { ALL_TAGS } from "../../cache/redis-tier.ts";
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
  bus: Pick<InvalidationBus, "ensureAllInvalidated">,
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
      if (!(await bus.ensureAllInvalidated(invalidations))) {
        throw new Error("Redis did not accept the invalidations");
      }
    },
    // Replaces the dropped events by one that stays in the outbox until Redis accepts it. So the outbox is emptied while
    // Redis is unavailable, and nothing that was dropped stays cached.
    async skip(tx) {
      tx.invalidate(ALL_TAGS);
    },
  };
}
