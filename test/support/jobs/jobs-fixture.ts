import { randomBytes } from "node:crypto";
import { Client } from "pg";
import { entities } from "../../../src/entities.ts";
import { createFailedJobs, type FailedJobs } from "../../../src/infra/jobs/failed-jobs.ts";
import { installJobs } from "../../../src/infra/jobs/install-jobs.ts";
import { type Jobs, type JobsOptions, openJobs } from "../../../src/infra/jobs/jobs.ts";
import type { Queue } from "../../../src/infra/jobs/queues.ts";
import { type Database, openPostgres } from "../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { createPageTokens } from "../../../src/kernel/page.ts";
import { silentLog } from "../log.ts";
import { createTestDatabase, type TestDatabase } from "../stores/database.ts";
import { testQueues } from "./test-queues.ts";

/** A database with the test queues. */
export interface JobsFixture {
  database: TestDatabase;
  db: Database;
  failedJobs: FailedJobs;
  /** Opens the jobs of one more process, with one worker by default. */
  open(options?: Partial<JobsOptions>): Promise<Jobs>;
  /** Enqueues a job in a transaction of its own. */
  enqueue(jobs: Jobs, queue: Queue<{ n: number }>, n: number): Promise<void>;
  /** Closes the jobs that were opened. */
  closeJobs(): Promise<void>;
  close(): Promise<void>;
}

export async function openJobsFixture(): Promise<JobsFixture> {
  const database = await createTestDatabase();
  const client = new Client({ connectionString: database.url });
  await client.connect();
  await installJobs(client, silentLog, testQueues);
  await client.end();
  const limits = { poolMax: 4, poolWaitMs: 10_000, statementTimeoutMs: 10_000 };
  const db = await openPostgres({ url: database.url, entities, log: silentLog, ...limits });
  const opened: Jobs[] = [];
  const closeJobs = async () => {
    await Promise.all(opened.splice(0).map((jobs) => jobs.close()));
  };
  return {
    database,
    db,
    failedJobs: createFailedJobs({ db, tokens: createPageTokens(randomBytes(32), systemClock) }),
    async open(options) {
      const defaults = {
        url: database.url,
        workers: 1,
        ids: createIds(),
        log: silentLog,
        queues: testQueues,
      };
      const jobs = await openJobs({ ...defaults, ...options });
      opened.push(jobs);
      return jobs;
    },
    enqueue: (jobs, queue, n) => db.transact(internalCall(), (tx) => jobs.enqueue(tx, queue, { n })),
    closeJobs,
    async close() {
      await closeJobs();
      await db.close();
      await database.drop();
    },
  };
}
