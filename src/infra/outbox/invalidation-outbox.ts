import type { Call } from "../../kernel/call.ts";
import type { InvalidationBus } from "../cache/invalidation-bus.ts";
import { type Generation, newGeneration } from "../cache/redis-tier.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { invalidationQueue } from "../jobs/queues.ts";
import type { Database, Invalidation, Tx } from "../postgres/postgres.ts";

/** Delivers the cache tags that a transaction has changed. */
export interface InvalidationPublisher {
  /** Stores the tags in the transaction, so that they are delivered even if the process dies after the commit. */
  enqueue(tx: Tx, tags: readonly string[], generation: Generation): Promise<void>;
  /** Invalidates the tags after the commit. It must not throw, since the change is made. */
  invalidate(tags: readonly string[], generation: Generation): Promise<unknown>;
  /** Invalidates the tags of an earlier transaction unless that is complete. It must not throw either. */
  ensureInvalidated(tags: readonly string[], generation: Generation): Promise<unknown>;
}

/** Creates a publisher that invalidates the cache directly, and by a job in case that fails. */
export function createInvalidationPublisher(
  jobs: Pick<Jobs, "enqueue">,
  bus: Pick<InvalidationBus, "invalidate" | "ensureInvalidated">,
): InvalidationPublisher {
  return {
    enqueue: (tx, tags, generation) =>
      jobs.enqueue(tx, invalidationQueue, { tags: [...tags], generation: generation.toString("base64") }),
    invalidate: (tags, generation) => bus.invalidate(tags, generation),
    ensureInvalidated: (tags, generation) => bus.ensureInvalidated(tags, generation),
  };
}

/**
 * Wraps a database so that `tx.invalidate` takes effect: the tags of a transaction are stored with it, and invalidated
 * before `transact` returns.
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
        if (tags.length > 0) await publisher.enqueue(tx, tags, generation);
        return result;
      };
      let result: T;
      try {
        result = await db.transact(call, attempt);
      } catch (error) {
        // A connection lost during the commit may have committed, or may still. A generation of its own keeps the job
        // from skipping these tags as already invalidated.
        if (tags.length > 0) await publisher.invalidate(tags, newGeneration());
        throw error;
      }
      if (tags.length > 0) await publisher.invalidate(tags, generation);
      if (repeated !== undefined) await publisher.ensureInvalidated(repeated.tags, repeated.generation);
      return result;
    },
  };
}
