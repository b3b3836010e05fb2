import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import { type JobsFixture, openJobsFixture } from "../../../support/jobs/jobs-fixture.ts";
import { onceQueue, polledQueue } from "../../../support/jobs/test-queues.ts";
import { silentLog } from "../../../support/log.ts";

const PATIENT = { timeout: 30_000 };
const LATE =
  "The job exceeded its time limit of 2 s. Check what it waits for, or raise expireInSeconds of its queue.";

let fixture: JobsFixture;
beforeAll(async () => {
  fixture = await openJobsFixture();
});
afterEach(async () => {
  await fixture.closeJobs();
  await fixture.database.query("delete from pgboss.job");
});
afterAll(() => fixture.close());

/** Opens jobs whose warnings are recorded. */
async function openLoggedJobs() {
  const warnings: { message: string; attempt: unknown; error: string }[] = [];
  const jobs = await fixture.open({
    log: {
      ...silentLog,
      warn: ({ err, attempt }, message) => warnings.push({ message, attempt, error: String(err) }),
    },
  });
  return { jobs, warnings };
}

const failedJobs = async () =>
  (await fixture.failedJobs.list(internalCall(), { queue: "", pageSize: 0, pageToken: "" })).items;

test("a job that exceeds its time limit is logged once, with what to do, which is its last error too", async () => {
  const { jobs, warnings } = await openLoggedJobs();
  const ended = Promise.withResolvers<void>();
  await jobs.work(onceQueue, async ({ signal }) => {
    await sleep(60_000, undefined, { signal }).catch(() => {});
    ended.resolve();
    throw new Error("aborted");
  });
  await fixture.enqueue(jobs, onceQueue, 1);
  await expect.poll(failedJobs, PATIENT).toMatchObject([{ attempts: 1, lastError: LATE }]);
  await ended.promise;
  await fixture.closeJobs();
  expect(warnings).toEqual([
    { message: "Job exceeded its time limit in its last attempt", attempt: 1, error: `Error: ${LATE}` },
  ]);
});

test("a job that ignores its signal neither keeps nor repeats the completed jobs of its batch", async () => {
  const { jobs, warnings } = await openLoggedJobs();
  const runs: string[] = [];
  await fixture.db.transact(internalCall(), async (tx) => {
    for (const n of [1, 2, 3]) await jobs.enqueue(tx, polledQueue, { n });
  });
  await jobs.work(polledQueue, async ({ data, attempt }) => {
    runs.push(`${data.n} attempt ${attempt}`);
    if (data.n === 2 && attempt === 1) await new Promise(() => {});
  });
  await expect.poll(() => fixture.database.query("select from pgboss.job"), PATIENT).toEqual([]);
  expect(runs.toSorted()).toEqual(["1 attempt 1", "2 attempt 1", "2 attempt 2", "3 attempt 1"]);
  expect(warnings).toMatchObject([{ message: "Job exceeded its time limit; retrying", attempt: 1 }]);
});

test("a warning of another failure does not hide that of a time limit", async () => {
  const { jobs, warnings } = await openLoggedJobs();
  await fixture.db.transact(internalCall(), async (tx) => {
    for (const n of [1, 2]) await jobs.enqueue(tx, onceQueue, { n });
  });
  await jobs.work(onceQueue, async ({ data }) => {
    if (data.n === 1) throw new Error("fails");
    await new Promise(() => {});
  });
  await expect.poll(failedJobs, PATIENT).toHaveLength(2);
  expect(warnings.map(({ message }) => message)).toEqual([
    "Job failed in its last attempt",
    "Job exceeded its time limit in its last attempt",
  ]);
});
