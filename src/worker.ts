import { rollUpCounts } from "./catalog/stats/count-rollup.ts";
import type { Cache } from "./infra/cache/cache.ts";
import type { Jobs } from "./infra/jobs/jobs.ts";
import { invalidations } from "./infra/jobs/queues.ts";
import type { Database } from "./infra/postgres/postgres.ts";
import { type Call, internalCall } from "./kernel/call.ts";
import type { Log } from "./kernel/log.ts";

/** What the jobs work with. */
export interface WorkerOptions {
  db: Database;
  jobs: Jobs;
  cache: Pick<Cache<unknown>, "ensureInvalidated">;
  /** Deletes what is of no use any more, such as sessions that ended long ago. */
  tidy(call: Call): Promise<void>;
  log: Log;
}

/**
 * How often the counts of products are added up, and what is old is deleted, milliseconds: the more counts are apart,
 * the slower to read.
 */
const TIDY_EVERY_MS = 60_000;

/**
 * Runs the shop's jobs in this process, beside others that do the same.
 * @returns what ends those that go by the clock; the others end with the queue
 */
export async function startWorker(options: WorkerOptions): Promise<() => Promise<void>> {
  const { db, jobs, cache, log } = options;
  await jobs.work(invalidations, async (batch) => {
    for (const { tags, generation } of batch) {
      await cache.ensureInvalidated(tags, Buffer.from(generation, "base64"));
    }
  });
  const tidy = async () => {
    try {
      await rollUpCounts(db, internalCall());
      await options.tidy(internalCall());
    } catch (error) {
      log.warn({ err: error }, "could not tidy up; counts of products are exact all the same");
    }
  };
  let tidying = Promise.resolve();
  const timer = setInterval(() => {
    tidying = tidying.then(tidy);
  }, TIDY_EVERY_MS);
  return async () => {
    clearInterval(timer);
    await tidying;
  };
}
