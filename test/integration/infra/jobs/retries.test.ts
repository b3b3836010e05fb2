import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import { NIL_UUID } from "../../../../src/kernel/ids.ts";
import { type JobsFixture, openJobsFixture } from "../../../support/jobs/jobs-fixture.ts";
import { killWorkerInJob } from "../../../support/jobs/kill-worker.ts";
import { onceQueue, slowQueue, twiceQueue } from "../../../support/jobs/test-queues.ts";

const PATIENT = { timeout: 30_000 };

let fixture: JobsFixture;
beforeAll(async () => {
  fixture = await openJobsFixture();
});
afterEach(async () => {
  await fixture.closeJobs();
  await fixture.database.query("delete from pgboss.job");
});
afterAll(() => fixture.close());

const listFailed = async (queue = "") =>
  (await fixture.failedJobs.list(internalCall(), { queue, pageSize: 0, pageToken: "" })).items;

/** Enqueues jobs with the numbers from 0 in one transaction. */
async function enqueueMany(queue: typeof slowQueue, count: number): Promise<void> {
  const jobs = await fixture.open({ workers: 0 });
  await fixture.db.transact(internalCall(), async (tx) => {
    for (let n = 0; n < count; n += 1) await jobs.enqueue(tx, queue, { n });
  });
}

interface DelayRow {
  attempt: number;
  /** From the start of the failed attempt, in seconds. */
  since_start: number;
  /** From now, in seconds. */
  remaining: number;
}

test("the delay before attempt n + 1 is random between 2^(n-1) and 2^n seconds", async () => {
  await enqueueMany(slowQueue, slowQueue.batchSize);
  const jobs = await fixture.open();
  await jobs.work(slowQueue, async () => {
    throw new Error("always");
  });
  for (const attempt of [1, 5, 12]) {
    const readDelays = () =>
      fixture.database.query<DelayRow>(`
        select retry_count + 1 as attempt, extract(epoch from start_after - started_on)::float8 as since_start,
          extract(epoch from start_after - clock_timestamp())::float8 as remaining
        from pgboss.job where state = 'retry' and retry_count = ${attempt - 1}`);
    await expect.poll(async () => (await readDelays()).length, PATIENT).toBe(slowQueue.batchSize);
    const delays = await readDelays();
    for (const { since_start: sinceStart, remaining } of delays) {
      expect(sinceStart).toBeGreaterThanOrEqual(2 ** (attempt - 1));
      expect(remaining).toBeLessThan(2 ** attempt);
    }
    // One statement has failed all of them, so they differ by the jitter only.
    expect(new Set(delays.map(({ since_start: sinceStart }) => sinceStart)).size).toBe(slowQueue.batchSize);
    const next = attempt === 1 ? 5 : 12;
    await fixture.database.query("update pgboss.job set retry_count = $1, start_after = now()", [next - 2]);
  }
});

test("a job that fails does not cause retries of the others in its batch", async () => {
  await enqueueMany(slowQueue, slowQueue.batchSize);
  const runs: string[] = [];
  const jobs = await fixture.open();
  await jobs.work(slowQueue, async ({ data, attempt }) => {
    runs.push(`${data.n} attempt ${attempt}`);
    if (data.n === 3 && attempt === 1) throw new Error("first attempt fails");
  });
  const stored = () => fixture.database.query("select from pgboss.job");
  await expect.poll(stored, PATIENT).toEqual([]);
  const first = Array.from({ length: slowQueue.batchSize }, (_, n) => `${n} attempt 1`);
  expect(runs.sort()).toEqual([...first, "3 attempt 2"].sort());
});

test("a job that fails in all attempts is listed with its last error, and retried with all attempts", async () => {
  await enqueueMany(twiceQueue, 1);
  const attempts: [id: string, attempt: number][] = [];
  const startWorker = async () => {
    const jobs = await fixture.open();
    await jobs.work(twiceQueue, async ({ id, attempt }) => {
      attempts.push([id, attempt]);
      if (attempts.length < 4) throw new Error(`run ${attempts.length}`);
    });
  };
  await startWorker();
  await expect.poll(() => listFailed(), PATIENT).toHaveLength(1);
  await fixture.closeJobs();
  const [failed] = await listFailed("twice");
  expect(failed).toMatchObject({ queue: "twice", attempts: 2, lastError: "run 2" });
  expect(failed?.failTime.getTime()).toBeGreaterThan(failed?.createTime.getTime() ?? Number.NaN);
  expect(await listFailed("slow")).toEqual([]);
  // pg-boss deletes waiting jobs after this time.
  await fixture.database.query("update pgboss.job set keep_until = now() - interval '1 day'");
  const id = failed?.id ?? "";
  await fixture.failedJobs.retry(internalCall(), id);
  expect(await fixture.database.query("select from pgboss.job where keep_until > now()")).toHaveLength(1);
  expect(await listFailed()).toEqual([]);
  await startWorker();
  await expect.poll(() => attempts, PATIENT).toEqual([1, 2, 1, 2].map((attempt) => [id, attempt]));
  await expect.poll(() => fixture.database.query("select from pgboss.job"), PATIENT).toEqual([]);
});

test("a job that does not exist or has not failed cannot be retried", async () => {
  await expect(fixture.failedJobs.retry(internalCall(), NIL_UUID)).rejects.toMatchObject({
    code: "not_found",
    details: { reason: "JOB_NOT_FOUND" },
  });
  await enqueueMany(slowQueue, 1);
  const [job] = await fixture.database.query<{ id: string }>("select id from pgboss.job");
  await expect(fixture.failedJobs.retry(internalCall(), job?.id ?? "")).rejects.toMatchObject({
    code: "failed_precondition",
    details: { reason: "JOB_NOT_FAILED" },
  });
});

test("of an error the message is kept, bounded and without characters that PostgreSQL rejects, and nothing else", async () => {
  await enqueueMany(onceQueue, 1);
  const jobs = await fixture.open();
  await jobs.work(onceQueue, async () => {
    throw Object.assign(new Error(`\0\u{d800}${"x".repeat(600)}`), { password: "s3cret" });
  });
  await expect.poll(() => listFailed(), PATIENT).toHaveLength(1);
  expect(await listFailed()).toMatchObject([{ lastError: `\u{fffd}\u{fffd}${"x".repeat(498)}` }]);
  const [stored] = await fixture.database.query<{ output: string }>("select output::text from pgboss.job");
  expect(stored?.output).not.toContain("s3cret");
});

test("a worker that is killed has used an attempt, so that a job cannot kill workers without end", async () => {
  await enqueueMany(onceQueue, 1);
  expect(await killWorkerInJob(fixture.database.url, onceQueue.name)).toEqual({ n: 0 });
  const jobs = await fixture.open();
  const runs: number[] = [];
  await jobs.work(onceQueue, async ({ data }) => void runs.push(data.n));
  await expect.poll(() => listFailed(), PATIENT).toMatchObject([{ attempts: 1, lastError: "job timed out" }]);
  expect(runs).toEqual([]);
});
