import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { installJobs } from "../../../../src/infra/jobs/install-jobs.ts";
import { queues } from "../../../../src/infra/jobs/queues.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { type Bench, openBench } from "../../../support/jobs/jobs-fixture.ts";
import { polled, told } from "../../../support/jobs/test-queues.ts";
import { silentLog } from "../../../support/log.ts";
import { startTcpProxy } from "../../../support/tcp-proxy.ts";

let bench: Bench;
beforeAll(async () => {
  bench = await openBench();
});
afterEach(async () => {
  await bench.stop();
  await bench.database.query("delete from pgboss.job");
});
afterAll(async () => {
  await bench.close();
});

/** A handler that notes what it is given. */
function collector() {
  const seen: number[] = [];
  const collect = async (jobs: { n: number }[]) => void seen.push(...jobs.map(({ n }) => n));
  return { seen, collect };
}

const left = () => bench.database.query<{ state: string }>("select state from pgboss.job");
const connections = () =>
  bench.database.query(
    "select from pg_stat_activity where datname = current_database() and application_name = 'cartwright jobs'",
  );

test("a job runs once its transaction commits, and one of a transaction that is undone never does", async () => {
  const jobs = await bench.open();
  const { seen, collect } = collector();
  await jobs.work(told, collect);
  let undo = () => {};
  const undone = bench.db.transact(internalCall(), async (tx) => {
    await jobs.enqueue(tx, told, { n: 1 });
    await new Promise<void>((_resolve, reject) => {
      undo = () => reject(new Error("undone"));
    });
  });
  await bench.db.dryRun(internalCall(), (tx) => jobs.enqueue(tx, told, { n: 2 }));
  await sleep(1_500);
  const early = [...seen];
  undo();
  await expect(undone).rejects.toThrow("undone");
  expect(early).toEqual([]);
  await bench.add(jobs, told, 3);
  await expect.poll(() => seen).toEqual([3]);
  await sleep(1_500);
  expect(seen).toEqual([3]);
  // What is done leaves nothing behind.
  expect(await left()).toEqual([]);
});

test("workers are told of a commit within 500 ms, and the others look within 2 s", async () => {
  const jobs = await bench.open();
  const { seen, collect } = collector();
  await jobs.work(told, collect);
  await jobs.work(polled, collect);
  for (let n = 0; n < 5; n += 1) {
    await sleep(130);
    await bench.add(jobs, told, n);
    await expect.poll(() => seen.length, { timeout: 500, interval: 5 }).toBe(n + 1);
  }
  await bench.add(jobs, polled, 5);
  await expect.poll(() => seen.length, { timeout: 2_000 }).toBe(6);
});

test("jobs of a handler that throws are tried again, and wait in the queue meanwhile", async () => {
  const jobs = await bench.open();
  let tries = 0;
  await jobs.work(polled, async () => {
    tries += 1;
    if (tries < 2) throw new Error("not today");
  });
  await bench.add(jobs, polled, 1);
  await expect.poll(() => tries).toBe(1);
  await expect.poll(left).toEqual([{ state: "retry" }]);
  await expect.poll(() => tries).toBe(2);
  await expect.poll(left).toEqual([]);
});

test("the job of a worker that was killed runs again elsewhere", async () => {
  const jobs = await bench.open();
  await bench.add(jobs, polled, 7);
  const script = fileURLToPath(new URL("../../../support/jobs/stalled-worker.ts", import.meta.url));
  const child = spawn(process.execPath, [script, bench.database.url], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [taken] = await once(child.stdout, "data");
  expect(JSON.parse(String(taken))).toEqual([{ n: 7 }]);
  child.kill("SIGKILL");
  const { seen, collect } = collector();
  await jobs.work(polled, collect);
  await expect.poll(() => seen, { timeout: 15_000 }).toEqual([7]);
});

test("of two processes with several workers each, one does each job, and both do some", async () => {
  const processes = await Promise.all([bench.open(2), bench.open(2)]);
  const collectors = processes.map(collector);
  for (const [index, jobs] of processes.entries()) {
    const { collect } = collectors[index] ?? collector();
    await jobs.work(polled, async (batch) => {
      await collect(batch);
      await sleep(50);
    });
  }
  const numbers = Array.from({ length: 200 }, (_, n) => n);
  const [first] = processes;
  await bench.db.transact(internalCall(), async (tx) => {
    for (const n of numbers) await first?.enqueue(tx, polled, { n });
  });
  await expect.poll(async () => (await left()).length).toBe(0);
  const seen = collectors.map((each) => each.seen);
  expect(seen.flat().toSorted((a, b) => a - b)).toEqual(numbers);
  expect(Math.min(...seen.map((each) => each.length))).toBeGreaterThan(0);
});

test("when all its connections are ended, it goes on within 5 s, and is told of commits again", async () => {
  const jobs = await bench.open();
  const { seen, collect } = collector();
  await jobs.work(told, collect);
  for (const n of [1, 2]) {
    await bench.database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'cartwright jobs'",
    );
    await bench.add(jobs, told, n);
    await expect.poll(() => seen, { timeout: 5_000 }).toContain(n);
  }
  await expect.poll(async () => (await connections()).length).toBeGreaterThanOrEqual(2);
});

test("without workers it adds jobs and runs none", async () => {
  const adding = await bench.open(0);
  const { seen, collect } = collector();
  await adding.work(polled, collect);
  await bench.add(adding, polled, 1);
  await sleep(1_500);
  expect(seen).toEqual([]);
  expect(await left()).toEqual([{ state: "created" }]);
});

// On a machine that stands still for a moment it takes longer.
test("closing is quick, waits for a handler at work, and leaves no connection", { retry: 2 }, async () => {
  const idle = await bench.open();
  await idle.work(told, async () => {});
  await sleep(300);
  const start = performance.now();
  await idle.close();
  expect(performance.now() - start).toBeLessThan(500);

  const busy = await bench.open();
  let finished = false;
  const started = new Promise<void>((resolve) => {
    void busy.work(told, async () => {
      resolve();
      await sleep(700);
      finished = true;
    });
  });
  await bench.add(busy, told, 1);
  await started;
  await busy.close();
  expect(finished).toBe(true);
  expect(await left()).toEqual([]);
  await expect.poll(connections).toEqual([]);
});

test("closing does not wait for a network that has gone silent", async () => {
  const link = await startTcpProxy(Number(new URL(bench.database.url).port));
  const through = new URL(bench.database.url);
  through.port = String(link.port);
  const jobs = await bench.open(1, through.href);
  await jobs.work(told, async () => {});
  link.freeze();
  const start = performance.now();
  await jobs.close();
  expect(performance.now() - start).toBeLessThan(8_000);
  await link.close();
});

test("installing again is harmless, changes what has changed, and keeps jobs", async () => {
  const jobs = await bench.open(0);
  await bench.add(jobs, polled, 1);
  const client = new Client({ connectionString: bench.database.url });
  await client.connect();
  await installJobs(client, silentLog, [{ ...polled, expireInSeconds: 77 }, told]);
  await installJobs(client, silentLog);
  const [row] = (await client.query("select expire_seconds from pgboss.queue where name = 'polled'")).rows;
  expect(row).toEqual({ expire_seconds: 77 });
  await installJobs(client, silentLog, [polled, told]);
  await client.end();
  expect(await left()).toHaveLength(1);
});

test("the migration has made all queues", async () => {
  const made = await bench.database.query<{ name: string }>("select name from pgboss.queue");
  expect(made.map(({ name }) => name)).toEqual(expect.arrayContaining(queues.map(({ name }) => name)));
});
