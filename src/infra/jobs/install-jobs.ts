import type { ClientBase } from "pg";
import { PgBoss } from "pg-boss";
import type { Log } from "../../kernel/log.ts";
import { logPgBoss } from "./log-pg-boss.ts";
import { queues as allQueues, type Queue } from "./queues.ts";
import { createThrottledWarning } from "./throttled-warning.ts";

/** Time for which failed jobs are kept, in days. */
export const FAILED_RETENTION_DAYS = 14;
const DAY_SECONDS = 24 * 3_600;
/**
 * pg-boss deletes jobs that have waited for this time, even if they have never run: longer than any shop is without
 * workers.
 */
export const WAITING_RETENTION_SECONDS = 10 * 365 * DAY_SECONDS;
/**
 * A job is taken from a worker that has not confirmed for this time that it is alive, in seconds. The least that pg-boss
 * accepts; workers confirm it twice as often.
 */
const HEARTBEAT_SECONDS = 10;

/**
 * Time in which a worker settles jobs that have exceeded their limit, in seconds. Then pg-boss fails all jobs of the
 * batch, also those that are completed.
 */
const SETTLE_SECONDS = 5;

/** Options of all queues. Completed jobs are deleted; the retained ones have failed their last attempt. */
const POLICY = {
  retryDelay: 1,
  retryBackoff: true,
  heartbeatSeconds: HEARTBEAT_SECONDS,
  retentionSeconds: WAITING_RETENTION_SECONDS,
  deleteAfterSeconds: FAILED_RETENTION_DAYS * DAY_SECONDS,
};

/** Migrates pg-boss's schema and creates or updates the queues, on a connection of the caller. */
export async function installJobs(client: ClientBase, log: Log, queues = allQueues): Promise<void> {
  const boss = new PgBoss({
    db: { executeSql: (text, values) => client.query(text, values) },
    supervise: false,
    schedule: false,
  });
  logPgBoss(boss, createThrottledWarning(log));
  await boss.start();
  try {
    for (const queue of queues) {
      const policy = { ...POLICY, ...policyOf(queue) };
      await boss.createQueue(queue.name, policy);
      // createQueue leaves an existing queue as an older version has configured it.
      await boss.updateQueue(queue.name, policy);
    }
  } finally {
    await boss.stop({ graceful: false });
  }
}

const policyOf = ({ expireInSeconds, maxAttempts, maxDelaySeconds, notify }: Queue<object>) => ({
  retryLimit: maxAttempts - 1,
  ...(maxDelaySeconds !== undefined && { retryDelayMax: maxDelaySeconds }),
  expireInSeconds: expireInSeconds + SETTLE_SECONDS,
  notify,
});
