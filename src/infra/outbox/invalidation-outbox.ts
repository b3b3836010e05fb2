import type { Call } from "../../kernel/call.ts";
import { type Generation, newGeneration } from "../cache/redis-tier.ts";
import type { Database, Invalidation, Tx } from "../postgres/postgres.ts";
import { invalidationTopic } from "./invalidation-topic.ts";

/** Delivers the cache tags that a transaction has changed. */
export interface InvalidationPublisher {
  /** Invalidates the tags after the commit. It must not throw, since the change is made. */
  invalidate(tags: readonly string[], generation: Generation): Promise<unknown>;
  /** Invalidates the tags of an earlier transaction unless that is complete. It must not throw either. */
  ensureInvalidated(tags: readonly string[], generation: Generation): Promise<unknown>;
}

/**
 * Wraps a database so that `tx.invalidate` takes effect: the tags of a transaction are published with it, and
 * invalidated before `transact` returns. The consumer of the outbox repeats that if the process dies after the commit.
 */
export function withInvalidationOutbox(db: Database, publisher: InvalidationPublisher): Database {
  return {
    ...db,
    async transact<T>(call: Call, work: (tx: Tx) => Promise<T>): Promise<T> {
      const generation = newGeneration();
      let tags: readonly string[] = [];
      let repeated: Invalidation | undefined;
      const attempt = async (tx: Tx): Promise<T> => {
        const changed = new Set<string>();
        const invalidate = (...added: string[]) => {
          for (const tag of added) changed.add(tag);
        };
        repeated = undefined;
        const result = await work({
          ...tx,
          invalidate,
          invalidation: () => ({ tags: [...changed], generation }),
          repeatInvalidation(invalidation) {
            repeated = invalidation;
          },
        });
        tags = [...changed];
        if (tags.length > 0)
          tx.publish(invalidationTopic, { tags, generation: generation.toString("base64") });
        return result;
      };
      let result: T;
      try {
        result = await db.transact(call, attempt);
      } catch (error) {
        // A connection lost during the commit may have committed, or may still. A generation of its own keeps the
        // consumer from skipping these tags as already invalidated.
        if (tags.length > 0) await publisher.invalidate(tags, newGeneration());
        throw error;
      }
      if (tags.length > 0) await publisher.invalidate(tags, generation);
      if (repeated !== undefined) await publisher.ensureInvalidated(repeated.tags, repeated.generation);
      return result;
    },
  };
}
