import { setTimeout as sleep } from "node:timers/promises";
import type { ClientBase, PoolConfig } from "pg";
import { type ConstructorOptions, type Job, PgBoss } from "pg-boss";
import type { Log } from "../../kernel/log.ts";
import { prepared, type Tx } from "../postgres/postgres.ts";
import { queues as declared, type Queue } from "./queues.ts";

/** Background work that is promised in a transaction and done after it. */
export interface Jobs {
  /** Adds a job in the caller's transaction: it runs if and only if that commits. */
  enqueue<Data extends object>(tx: Pick<Tx, "run">, queue: Queue<Data>, data: Data): Promise<void>;
  /**
   * Runs jobs of a queue here, each at least once: `handle` may be given a job again that it has done before.
   * When it throws, all jobs of its batch are tried again, with delays that grow to a minute, for a week.
   */
  work<Data extends object>(queue: Queue<Data>, handle: (jobs: Data[]) => Promise<void>): Promise<void>;
  /** Waits some seconds for handlers at work. The jobs of those that take longer run again elsewhere. */
  close(): Promise<void>;
}

export interface JobsOptions {
  url: string;
  /** How many batches of a queue run at once in this process. With 0 it runs none, and only adds jobs. */
  workers: number;
  log: Log;
  queues?: readonly Queue<object>[];
}

const POLL_SECONDS = 1;
/** How often jobs of workers that died are looked for, by one process of all. */
const SUPERVISE_SECONDS = 5;
const CLOSE_GRACE_MS = 5_000;
// pg says goodbye and waits for an answer, which a network that has gone silent never gives.
const DISCONNECT_MS = 1_000;
const FORTNIGHT_SECONDS = 14 * 24 * 3_600;

/** What all queues have in common. Jobs that are done are deleted; what is kept has failed for good. */
const POLICY = {
  retryLimit: (7 * 24 * 3_600) / 60, // a week of tries at the longest delay
  retryDelay: 1,
  retryBackoff: true,
  retryDelayMax: 60,
  retentionSeconds: FORTNIGHT_SECONDS,
  deleteAfterSeconds: FORTNIGHT_SECONDS,
};

/** Brings pg-boss's schema and the queues up to date, over a connection that is lent for that. */
export async function installJobs(client: ClientBase, log: Log, queues = declared): Promise<void> {
  const boss = new PgBoss({
    db: { executeSql: (text, values) => client.query(text, values) },
    supervise: false,
    schedule: false,
  });
  listen(boss, sparing(log));
  await boss.start();
  try {
    for (const { name, expireInSeconds: limitSeconds, notify: prompt } of queues) {
      const policy = { ...POLICY, expireInSeconds: limitSeconds, notify: prompt };
      await boss.createQueue(name, policy);
      // What exists is not touched by that, and its policy may be of an older version.
      await boss.updateQueue(name, policy);
    }
  } finally {
    await boss.stop({ graceful: false });
  }
}

/** Connects, with a pool of its own that reconnects by itself. The queues must have been installed. */
export async function openJobs(options: JobsOptions): Promise<Jobs> {
  const { url, workers, log, queues = declared } = options;
  const connection: ConstructorOptions & PoolConfig = {
    connectionString: url,
    max: 3,
    keepAlive: true,
    // A reply that never comes must not hold a worker for ever.
    query_timeout: 30_000,
    application_name: "cartwright jobs",
  };
  const boss = new PgBoss({
    ...connection,
    migrate: false,
    createSchema: false,
    schedule: false,
    supervise: workers > 0,
    superviseIntervalSeconds: SUPERVISE_SECONDS,
    monitorIntervalSeconds: SUPERVISE_SECONDS,
    // Jobs that wait for others are not used here.
    flowIntervalSeconds: 3_600,
    useListenNotify: workers > 0 && queues.some(({ notify: prompt }) => prompt),
  });
  let closing = false;
  const complain = sparing(log);
  listen(boss, (fields, message) => closing || complain(fields, message));
  try {
    await boss.start();
  } catch (error) {
    await boss.stop({ graceful: false });
    throw error;
  }
  const working = new Set<string>();

  return {
    async enqueue(tx, { name }, data) {
      // To plan pg-boss's insert takes longer than to run it.
      const run = async (text: string, values: unknown[] = []) => ({
        rows: await tx.run(prepared(text), values),
      });
      await boss.insert(name, [{ data }], { db: { executeSql: run } });
    },
    async work<Data extends object>(
      { name, batchSize }: Queue<Data>,
      handle: (jobs: Data[]) => Promise<void>,
    ) {
      if (workers === 0) return;
      const complain = sparing(log);
      working.add(name);
      const pace = {
        batchSize,
        localConcurrency: workers,
        burstWhenBatchFull: true,
        pollingIntervalSeconds: POLL_SECONDS,
        notifyPollingIntervalSeconds: POLL_SECONDS,
      };
      await boss.work(name, pace, async (jobs: Job<Data>[]) => {
        try {
          await handle(jobs.map((job) => job.data));
        } catch (error) {
          const stack = error instanceof Error ? error.stack : undefined;
          const fields = { ...told(error), stack, queue: name, jobs: jobs.length };
          complain(fields, "jobs failed and will be tried again");
          throw error;
        }
        // Rather than kept as completed for a time, which is the same for those that have failed for good.
        await boss.deleteJob(name, jobs);
      });
    },
    async close() {
      await atMost(
        CLOSE_GRACE_MS,
        Promise.all([...working].map((name) => boss.offWork(name, { wait: true }))),
      );
      closing = true;
      await atMost(DISCONNECT_MS, boss.stop({ graceful: false }));
    },
  };
}

/** Waits for `work`, but not for ever. */
async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  const done = new AbortController();
  const late = sleep(ms, undefined, done).catch(() => {});
  await Promise.race([work, late]).finally(() => done.abort());
}

type Complain = Log["warn"];

/** Hears pg-boss, whose errors would end the process if nobody did. */
function listen(boss: PgBoss, complain: Complain): void {
  boss.on("error", (error) => complain(told(error), "the job queue has a problem; it goes on trying"));
  boss.on("warning", ({ message, data }) => complain({ data }, message));
}

/**
 * What the log is told of an error, and nothing else that hangs on it: pg hangs the connection on it, with the key by
 * which whoever has it can cancel what is done there. What pg-boss passes on is not always an Error.
 */
function told(error: unknown): { cause: string; code?: string } {
  if (typeof error !== "object" || error === null) return { cause: String(error) };
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  const cause = "message" in error && typeof error.message === "string" ? error.message : "";
  // Node tries several addresses of a host, and has no sentence when all of them fail.
  return { cause: cause || (code ?? "unknown"), ...(code !== undefined && { code }) };
}

/** Warns of what may last for hours twice a minute, and not each time. */
function sparing(log: Log): Complain {
  let quietUntilMs = 0;
  return (fields, message) => {
    if (performance.now() < quietUntilMs) return log.debug(fields, message);
    quietUntilMs = performance.now() + 30_000;
    log.warn(fields, message);
  };
}
