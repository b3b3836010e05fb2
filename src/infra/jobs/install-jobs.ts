import type { ClientBase } from "pg";
import { PgBoss } from "pg-boss";
import type { Log } from "../../kernel/log.ts";
import { logPgBoss } from "./log-pg-boss.ts";
import { queues as allQueues } from "./queues.ts";
import { createThrottledWarning } from "./throttled-warning.ts";

const WEEK_SECONDS = 7 * 24 * 3_600;
const MAX_RETRY_DELAY_SECONDS = 60;

/** Options of all queues. Completed jobs are deleted; the retained ones have failed their last retry. */
const POLICY = {
  // A week of retries at the longest delay.
  retryLimit: WEEK_SECONDS / MAX_RETRY_DELAY_SECONDS,
  retryDelay: 1,
  retryBackoff: true,
  retryDelayMax: MAX_RETRY_DELAY_SECONDS,
  retentionSeconds: 2 * WEEK_SECONDS,
  deleteAfterSeconds: 2 * WEEK_SECONDS,
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
    for (const { name, expireInSeconds, notify } of queues) {
      const policy = { ...POLICY, expireInSeconds, notify };
      await boss.createQueue(name, policy);
      // createQueue leaves an existing queue as an older version has configured it.
      await boss.updateQueue(name, policy);
    }
  } finally {
    await boss.stop({ graceful: false });
  }
}
