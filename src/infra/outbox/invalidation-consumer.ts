import type { InvalidationBus } from "../cache/invalidation-bus.ts";
import { ALL_TAGS, newGeneration } from "../cache/redis-tier.ts";
import type { OutboxConsumer } from "./consumer/consumer.ts";
import { invalidationTopic, type PublishedInvalidation } from "./invalidation-topic.ts";

/**
 * Creates the consumer that repeats invalidations which their writers have not completed. The writers invalidate the
 * cache themselves after their commits, so it waits for a second to find most of them complete.
 */
export function createInvalidationConsumer(
  bus: Pick<InvalidationBus, "ensureInvalidated" | "invalidate">,
): OutboxConsumer<PublishedInvalidation> {
  return {
    name: "cache-invalidation",
    topics: [invalidationTopic],
    delayMs: 1_000,
    limits: { rows: 100_000, ageMs: 60_000 },
    async apply(_tx, events) {
      const areComplete = await Promise.all(
        events.map(({ data }) => bus.ensureInvalidated(data.tags, Buffer.from(data.generation, "base64"))),
      );
      if (areComplete.includes(false)) throw notAccepted();
    },
    async skip() {
      if (!(await bus.invalidate([ALL_TAGS], newGeneration()))) throw notAccepted();
    },
  };
}

const notAccepted = () => new Error("Redis did not accept the invalidations");
