import type { Call } from "../../kernel/call.ts";
import type { InvalidationBus } from "../cache/invalidation-bus.ts";
import { type Generation, newGeneration } from "../cache/redis-tier.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { invalidationQueue } from "../jobs/queues.ts";
import type { Database, Tx } from "../postgres/postgres.ts";

/** Who is told which cache tags a transaction has changed. */
export interface InvalidationPublisher {
  /** In the transaction: notes that it is to be told again, should `invalidate` fail or never be reached. */
  enqueue(tx: Tx, tags: readonly string[], generation: Generation): Promise<void>;
  /** After the commit. It must not throw: the change is made. */
  invalidate(tags: readonly string[], generation: Generation): Promise<unknown>;
}

/** Tells by the cache at once, and by a job. */
export function createInvalidationPublisher(
  jobs: Pick<Jobs, "enqueue">,
  bus: Pick<InvalidationBus, "invalidate">,
): InvalidationPublisher {
  return {
    enqueue: (tx, tags, generation) =>
      jobs.enqueue(tx, invalidationQueue, { tags: [...tags], generation: generation.toString("base64") }),
    invalidate: (tags, generation) => bus.invalidate(tags, generation),
  };
}

/**
 * A database whose transactions announce what they have changed: once for certain, by a job that is committed
 * with them, and at once, before their caller gets his answer.
 */
export function withInvalidationOutbox(db: Database, announcer: InvalidationPublisher): Database {
  return {
    ...db,
    async transact<T>(call: Call, work: (tx: Tx) => Promise<T>): Promise<T> {
      const generation = newGeneration();
      let tags: readonly string[] = [];
      const run = async (tx: Tx): Promise<T> => {
        const changed = new Set<string>();
        const result = await work({
          ...tx,
          invalidate: (...more) => more.forEach((tag) => void changed.add(tag)),
        });
        tags = [...changed];
        if (tags.length > 0) await announcer.enqueue(tx, tags, generation);
        return result;
      };
      let answer: T;
      try {
        answer = await db.transact(call, run);
      } catch (error) {
        // A connection that broke may have committed all the same, or be about to: this is for the former, and
        // under another name, so that the job does not take it for done.
        if (tags.length > 0) await announcer.invalidate(tags, newGeneration());
        throw error;
      }
      if (tags.length > 0) await announcer.invalidate(tags, generation);
      return answer;
    },
  };
}
