import { Client } from "pg";
import { entities } from "../../../src/entities.ts";
import { installJobs } from "../../../src/infra/jobs/install-jobs.ts";
import { type Jobs, openJobs } from "../../../src/infra/jobs/jobs.ts";
import type { Queue } from "../../../src/infra/jobs/queues.ts";
import { type Database, openPostgres } from "../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import { createTestDatabase, type TestDatabase } from "../database.ts";
import { silentLog } from "../log.ts";
import { polled, told } from "./test-queues.ts";

/** A database with the test's queues, and processes that share it. */
export interface Bench {
  database: TestDatabase;
  db: Database;
  /** What a process has, which reaches the database at `url`. */
  open(workers?: number, url?: string): Promise<Jobs>;
  /** Adds a job in a transaction of its own. */
  add(jobs: Jobs, queue: Queue<{ n: number }>, n: number): Promise<void>;
  /** Closes what is open of that. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

export async function openBench(): Promise<Bench> {
  const database = await createTestDatabase();
  const client = new Client({ connectionString: database.url });
  await client.connect();
  await installJobs(client, silentLog, [polled, told]);
  await client.end();
  const limits = { poolMax: 4, poolWaitMs: 1_000, statementTimeoutMs: 2_000 };
  const db = await openPostgres({ url: database.url, entities, log: silentLog, ...limits });
  const opened: Jobs[] = [];
  const stop = async () => void (await Promise.all(opened.splice(0).map((jobs) => jobs.close())));
  return {
    database,
    db,
    async open(workers = 1, url = database.url) {
      const jobs = await openJobs({ url, workers, log: silentLog, queues: [polled, told] });
      opened.push(jobs);
      return jobs;
    },
    add: (jobs, queue, n) => db.transact(internalCall(), (tx) => jobs.enqueue(tx, queue, { n })),
    stop,
    async close() {
      await stop();
      await db.close();
      await database.drop();
    },
  };
}
