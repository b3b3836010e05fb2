import { Client } from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { installJobs } from "../../../../src/infra/jobs/install-jobs.ts";
import type { RunningJob } from "../../../../src/infra/jobs/jobs.ts";
import { queues } from "../../../../src/infra/jobs/queues.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { type JobsFixture, openJobsFixture } from "../../../support/jobs/jobs-fixture.ts";
import { killWorkerInJob } from "../../../support/jobs/kill-worker.ts";
import { notifiedQueue, polledQueue, slowQueue, testQueues } from "../../../support/jobs/test-queues.ts";
import { silentLog } from "../../../support/log.ts";
import { startTcpProxy } from "../../../support/stores/tcp-proxy.ts";

/** So long that no test waits for it: jobs of workers with this interval run because of a notification. */
const NEVER_POLLED = { pollSeconds: 3_600 };
const PATIENT = { timeout: 30_000 };

let fixture: JobsFixture;
beforeAll(async () => {
  fixture = await openJobsFixture();
});
afterEach(async () => {
  await fixture.closeJobs();
  await fixture.database.query("delete from pgboss.job");
});
afterAll(async () => {
  await fixture.close();
});

/** A handler that records its jobs. */
function createRecorder() {
  const seen: number[] = [];
  const record = async ({ data }: RunningJob<{ n: number }>) => {
    seen.push(data.n);
  };
  return { seen, record };
}

const storedJobs = () => fixture.database.query<{ state: string }>("select state from pgboss.job");
const connections = () =>
  fixture.database.query(
    "select from pg_stat_activity where datname = current_database() and application_name = 'cartwright jobs'",
  );

test("a job runs after its transaction commits, and never when the transaction is rolled back", async () => {
  const jobs = await fixture.open();
  const { seen, record } = createRecorder();
  await jobs.work(notifiedQueue, record);
  const enqueued = Promise.withResolvers<void>();
  const ending = Promise.withResolvers<void>();
  const rolledBack = fixture.db.transact(internalCall(), async (tx) => {
    await jobs.enqueue(tx, notifiedQueue, { n: 1 });
    enqueued.resolve();
    await ending.promise;
  });
  await enqueued.promise;
  await fixture.db.dryRun(internalCall(), (tx) => jobs.enqueue(tx, notifiedQueue, { n: 2 }));
  await fixture.enqueue(jobs, notifiedQueue, 3);
  await expect.poll(() => seen, PATIENT).toEqual([3]);
  ending.reject(new Error("rolled back"));
  await expect(rolledBack).rejects.toThrow("rolled back");
  await fixture.enqueue(jobs, notifiedQueue, 4);
  await expect.poll(() => seen, PATIENT).toEqual([3, 4]);
  // Completed jobs are deleted, and of the others there is no row that could run.
  await expect.poll(storedJobs, PATIENT).toEqual([]);
});

test("a commit notifies only the workers of queues with notifications", async () => {
  const jobs = await fixture.open(NEVER_POLLED);
  const { seen, record } = createRecorder();
  // The first fetch of each worker takes these, without a notification.
  await fixture.enqueue(jobs, notifiedQueue, -1);
  await fixture.enqueue(jobs, polledQueue, -2);
  await jobs.work(notifiedQueue, record);
  await jobs.work(polledQueue, record);
  await expect.poll(() => seen.toSorted(), PATIENT).toEqual([-1, -2]);
  await fixture.enqueue(jobs, polledQueue, 1);
  for (const n of [2, 3, 4]) {
    await fixture.enqueue(jobs, notifiedQueue, n);
    await expect.poll(() => seen, PATIENT).toContain(n);
  }
  expect(seen.slice(2)).toEqual([2, 3, 4]);
});

test("workers poll for jobs without notifications", async () => {
  const jobs = await fixture.open();
  const { seen, record } = createRecorder();
  await jobs.work(polledQueue, record);
  for (const n of [1, 2]) {
    await fixture.enqueue(jobs, polledQueue, n);
    await expect.poll(() => seen, PATIENT).toContain(n);
  }
});

test("jobs of a handler that throws stay in the queue and are retried", async () => {
  const jobs = await fixture.open();
  let attempts = 0;
  const states: string[][] = [];
  await jobs.work(polledQueue, async () => {
    attempts += 1;
    states.push((await storedJobs()).map(({ state }) => state));
    if (attempts === 1) throw new Error("first attempt fails");
  });
  await fixture.enqueue(jobs, polledQueue, 1);
  await expect.poll(() => attempts, PATIENT).toBe(2);
  await expect.poll(storedJobs, PATIENT).toEqual([]);
  expect(states).toEqual([["active"], ["active"]]);
});

test("the job of a worker that was killed runs again elsewhere", async () => {
  const jobs = await fixture.open();
  await fixture.enqueue(jobs, polledQueue, 7);
  expect(await killWorkerInJob(fixture.database.url, polledQueue.name)).toEqual({ n: 7 });
  const { seen, record } = createRecorder();
  await jobs.work(polledQueue, record);
  await expect.poll(() => seen, PATIENT).toEqual([7]);
});

test("of two processes with several workers, exactly one runs each job, and both run some", async () => {
  const processes = await Promise.all([fixture.open({ workers: 2 }), fixture.open({ workers: 2 })]);
  const recorders = processes.map(createRecorder);
  const bothStarted = Promise.withResolvers<void>();
  for (const [index, jobs] of processes.entries()) {
    const { record } = recorders[index] ?? createRecorder();
    await jobs.work(slowQueue, async (job) => {
      await record(job);
      if (recorders.every(({ seen }) => seen.length > 0)) bothStarted.resolve();
      await bothStarted.promise;
    });
  }
  const numbers = Array.from({ length: 200 }, (_, n) => n);
  const [first] = processes;
  await fixture.db.transact(internalCall(), async (tx) => {
    for (const n of numbers) await first?.enqueue(tx, slowQueue, { n });
  });
  await expect.poll(storedJobs, PATIENT).toEqual([]);
  const seen = recorders.flatMap((recorder) => recorder.seen);
  expect(seen.toSorted((a, b) => a - b)).toEqual(numbers);
  expect(recorders.every((recorder) => recorder.seen.length > 0)).toBe(true);
});

test("a process whose connections are terminated reconnects and is notified of commits again", async () => {
  const jobs = await fixture.open(NEVER_POLLED);
  const { seen, record } = createRecorder();
  await jobs.work(notifiedQueue, record);
  let n = 0;
  for (const round of [1, 2]) {
    await fixture.database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'cartwright jobs'",
    );
    const { length } = seen;
    // A commit before the workers listen again notifies none of them, so each attempt is another commit.
    const enqueueAndCount = async () => {
      n += 1;
      await fixture.enqueue(jobs, notifiedQueue, n);
      return seen.length;
    };
    await expect.poll(enqueueAndCount, { ...PATIENT, message: `round ${round}` }).toBeGreaterThan(length);
  }
  await expect.poll(async () => (await connections()).length, PATIENT).toBeGreaterThanOrEqual(2);
});

test("without workers a process enqueues jobs and runs none", async () => {
  const enqueuing = await fixture.open({ workers: 0 });
  const working = await fixture.open();
  const idle = createRecorder();
  const busy = createRecorder();
  await enqueuing.work(polledQueue, idle.record);
  const numbers = Array.from({ length: 20 }, (_, n) => n);
  for (const n of numbers) await fixture.enqueue(enqueuing, polledQueue, n);
  expect(await storedJobs()).toHaveLength(20);
  await working.work(polledQueue, busy.record);
  await expect.poll(() => busy.seen.toSorted((a, b) => a - b), PATIENT).toEqual(numbers);
  expect(idle.seen).toEqual([]);
});

test("close waits for running handlers only, and leaves no connection", async () => {
  // With a grace period of an hour, a close that waited for it without need would not end.
  const closeGraceMs = 3_600_000;
  const idle = await fixture.open({ closeGraceMs });
  await idle.work(notifiedQueue, async () => {});
  await idle.close();

  const busy = await fixture.open({ closeGraceMs });
  const events: string[] = [];
  const started = Promise.withResolvers<void>();
  const finishing = Promise.withResolvers<void>();
  await busy.work(notifiedQueue, async () => {
    started.resolve();
    await finishing.promise;
    events.push("handler finished");
  });
  await fixture.enqueue(busy, notifiedQueue, 1);
  await started.promise;
  const closing = busy.close().then(() => events.push("closed"));
  for (let query = 0; query < 20; query += 1) await connections();
  finishing.resolve();
  await closing;
  expect(events).toEqual(["handler finished", "closed"]);
  expect(await storedJobs()).toEqual([]);
  await expect.poll(connections, PATIENT).toEqual([]);
});

test("close does not wait for a network that discards all data", async () => {
  const proxy = await startTcpProxy(Number(new URL(fixture.database.url).port));
  const url = new URL(fixture.database.url);
  url.port = String(proxy.port);
  const jobs = await fixture.open({ url: url.href, closeGraceMs: 10 });
  await jobs.work(notifiedQueue, async () => {});
  proxy.freeze();
  let isClosed = false;
  void jobs.close().then(() => {
    isClosed = true;
  });
  // The driver's own timeout is 30 s.
  await expect.poll(() => isClosed, { timeout: 25_000 }).toBe(true);
  await proxy.close();
});

test("a second installation updates the options of queues and keeps their jobs", async () => {
  const jobs = await fixture.open({ workers: 0 });
  await fixture.enqueue(jobs, polledQueue, 1);
  const client = new Client({ connectionString: fixture.database.url });
  await client.connect();
  await installJobs(client, silentLog, [{ ...polledQueue, expireInSeconds: 77 }]);
  await installJobs(client, silentLog);
  const { rows } = await client.query("select expire_seconds from pgboss.queue where name = 'polled'");
  // With the time in which a worker settles jobs that have exceeded their limit.
  expect(rows).toEqual([{ expire_seconds: 82 }]);
  await installJobs(client, silentLog, testQueues);
  await client.end();
  expect(await storedJobs()).toHaveLength(1);
});

test("the migration creates all queues", async () => {
  const created = await fixture.database.query<{ name: string }>("select name from pgboss.queue");
  expect(created.map(({ name }) => name)).toEqual(expect.arrayContaining(queues.map(({ name }) => name)));
});
