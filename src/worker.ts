import { foldCounts } from "./catalog/count.ts";
import type { Cache } from "./infra/cache/cache.ts";
import type { Jobs } from "./infra/jobs.ts";
import type { Database } from "./infra/postgres.ts";
import { invalidations } from "./infra/queues.ts";
import { internalCall } from "./kernel/call.ts";
import type { Log } from "./kernel/log.ts";

/** What the jobs work with. */
export interface WorkerOptions {
  db: Database;
  jobs: Jobs;
  cache: Pick<Cache<unknown>, "ensureInvalidated">;
  log: Log;
}

/** How often the counts of products are added up, milliseconds: the more they are apart, the slower to read. */
const FOLD_EVERY_MS = 60_000;

/**
 * Runs the shop's jobs in this process, beside others that do the same.
 * @returns what ends those that go by the clock; the others end with the queue
 */
export async function startWorker({ db, jobs, cache, log }: WorkerOptions): Promise<() => Promise<void>> {
  await jobs.work(invalidations, async (batch) => {
    for (const { tags, generation } of batch) {
      await cache.ensureInvalidated(tags, Buffer.from(generation, "base64"));
    }
  });
  let folding = Promise.resolve();
  const fold = async () => {
    try {
      await foldCounts(db, internalCall());
    } catch (error) {
      log.warn({ err: error }, "counts of products were not added up; they are exact all the same");
    }
  };
  const timer = setInterval(() => {
    folding = folding.then(fold);
  }, FOLD_EVERY_MS);
  return async () => {
    clearInterval(timer);
    await folding;
  };
}
