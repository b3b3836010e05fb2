import { setTimeout as sleep } from "node:timers/promises";
import type { PoolConfig } from "pg";
import { type ConstructorOptions, type Job, PgBoss } from "pg-boss";
import type { Ids } from "../../kernel/ids.ts";
import type { Log } from "../../kernel/log.ts";
import type { Tx } from "../postgres/postgres.ts";
import { prepareText } from "../postgres/statement.ts";
import { logPgBoss } from "./log-pg-boss.ts";
import { queues as allQueues, type Queue } from "./queues.ts";
import { type RunningJob, runBatch } from "./run-batch.ts";
import { createThrottledWarning } from "./throttled-warning.ts";

export type { RunningJob } from "./run-batch.ts";

/** Background work that a transaction enqueues and that runs after its commit. */
export interface Jobs {
  /** Adds a job in the caller's transaction: it runs if and only if that commits. */
  enqueue<Data extends object>(tx: Pick<Tx, "query">, queue: Queue<Data>, data: Data): Promise<void>;
  /**
   * Starts workers for a queue. A job runs at least once: `handle` may get one again that it has completed, so it is
   * idempotent by the id of the job. When it throws, the job is retried with exponential backoff. After the last
   * attempt of its queue the job has failed and is kept for 14 days.
   */
  work<Data extends object>(
    queue: Queue<Data>,
    handle: (job: RunningJob<Data>) => Promise<void>,
  ): Promise<void>;
  /**
   * Takes no more jobs and waits for running ones, up to a time limit. Jobs that take longer run again elsewhere. A
   * second call waits for the first.
   * @param graceMs time limit in milliseconds; `closeGraceMs` by default
   */
  close(graceMs?: number): Promise<void>;
}

export interface JobsOptions {
  url: string;
  /** Number of batches of a queue that run concurrently in this process. With 0 it only enqueues. */
  workers: number;
  ids: Ids;
  log: Log;
  queues?: readonly Queue<object>[];
  /** Interval in which workers poll for jobs that they are not notified of, in seconds. Defaults to 1. */
  pollSeconds?: number;
  /** Time for which `close` waits for running jobs, in milliseconds. Defaults to 5,000. */
  closeGraceMs?: number;
}

const DEFAULT_POLL_SECONDS = 1;
/** Interval in which one of all processes looks for jobs of workers that died, in seconds. */
const SUPERVISE_SECONDS = 5;
const DEFAULT_CLOSE_GRACE_MS = 5_000;
// When pg disconnects it waits for the server to close the connection, which never happens over a silent network.
const DISCONNECT_MS = 1_000;

/** Connects to the queues with a pool of its own, which reconnects by itself. `installJobs` must have run before. */
export async function openJobs(options: JobsOptions): Promise<Jobs> {
  const { workers, ids, log, closeGraceMs = DEFAULT_CLOSE_GRACE_MS } = options;
  const boss = createPgBoss(options);
  const warn = createThrottledWarning(log);
  let closing = false;
  logPgBoss(boss, (fields, message) => closing || warn(fields, message));
  try {
    await boss.start();
  } catch (error) {
    await boss.stop({ graceful: false });
    throw error;
  }
  const workingQueues = new Set<string>();
  const close = async (graceMs: number) => {
    const finished = [...workingQueues].map((name) => boss.offWork(name, { wait: true }));
    await waitAtMost(graceMs, Promise.all(finished));
    closing = true;
    await waitAtMost(DISCONNECT_MS, boss.stop({ graceful: false }));
  };
  let closed: Promise<void> | undefined;

  return {
    async enqueue(tx, { name }, data) {
      // pg-boss's insert takes longer to plan than to run.
      const executeSql = async (text: string, values: unknown[] = []) => ({
        rows: await tx.query(prepareText(text, values)),
      });
      await boss.insert(name, [{ id: ids(), data }], { db: { executeSql } });
    },
    async work(queue, handle) {
      if (workers === 0) return;
      workingQueues.add(queue.name);
      await startWorkers(boss, options, queue, handle);
    },
    close(graceMs = closeGraceMs) {
      closed ??= close(graceMs);
      return closed;
    },
  };
}

function createPgBoss({ url, workers, queues = allQueues }: JobsOptions): PgBoss {
  const connection: ConstructorOptions & PoolConfig = {
    connectionString: url,
    max: 3,
    keepAlive: true,
    // A reply that never comes must not block a worker.
    query_timeout: 30_000,
    application_name: "cartwright jobs",
  };
  return new PgBoss({
    ...connection,
    migrate: false,
    createSchema: false,
    schedule: false,
    supervise: workers > 0,
    superviseIntervalSeconds: SUPERVISE_SECONDS,
    monitorIntervalSeconds: SUPERVISE_SECONDS,
    // Jobs that depend on others are not used.
    flowIntervalSeconds: 3_600,
    useListenNotify: workers > 0 && queues.some(({ notify }) => notify),
  });
}

async function startWorkers<Data extends object>(
  boss: PgBoss,
  { workers, log, pollSeconds = DEFAULT_POLL_SECONDS }: JobsOptions,
  queue: Queue<Data>,
  handle: (job: RunningJob<Data>) => Promise<void>,
): Promise<void> {
  const batch = {
    handle,
    warn: createThrottledWarning(log),
    warnOfTimeLimit: createThrottledWarning(log),
  };
  const options = {
    batchSize: queue.batchSize,
    localConcurrency: workers,
    burstWhenBatchFull: true,
    pollingIntervalSeconds: pollSeconds,
    notifyPollingIntervalSeconds: pollSeconds,
    perJobResults: true,
  } as const;
  await boss.work(queue.name, options, (jobs: Job<Data>[]) => runBatch(boss, queue, jobs, batch));
}

/** Resolves when `work` does, or after a time limit. */
async function waitAtMost(limitMs: number, work: Promise<unknown>): Promise<void> {
  const done = new AbortController();
  const timeout = sleep(limitMs, undefined, done).catch(() => {});
  await Promise.race([work, timeout]).finally(() => done.abort());
}
