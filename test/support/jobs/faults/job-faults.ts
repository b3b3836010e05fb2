import { expect } from "vitest";
import type { FaultFixture } from "./fault-fixture.ts";
import { WAITING_KEY } from "./fault-queues.ts";

/** What has become of all jobs of a database. */
export interface JobsOutcome {
  /** Jobs whose transactions committed. */
  jobs: number;
  /** Attempts that had their effect or found it. */
  runs: number;
  /** Jobs without an effect. */
  lost: number;
  /** The sum by which balances are wrong. */
  excess: number;
  /** Jobs that have failed in their last attempt. */
  failed: number;
}

const WAIT = { timeout: 1_200_000, interval: 200 };

async function count(fixture: FaultFixture, source: string, values: unknown[] = []): Promise<number> {
  const [row] = await fixture.query<{ count: number }>(`select count(*)::int as count ${source}`, values);
  return row?.count ?? Number.NaN;
}

/** Waits until a number of jobs have had their effect. */
export const effects = (fixture: FaultFixture, atLeast: number) =>
  expect.poll(() => count(fixture, "from job_effect"), WAIT).toBeGreaterThanOrEqual(atLeast);

/**
 * Waits until no job is left, stops the workers, and checks that no job was lost, each effect has happened once, and no
 * worker has exited by itself.
 */
export async function expectAllDone(fixture: FaultFixture): Promise<JobsOutcome> {
  await expect.poll(() => count(fixture, "from pgboss.job where state <> 'failed'"), WAIT).toBe(0);
  expect(fixture.exitedWorkers()).toEqual([]);
  expect(new Set(await fixture.stopWorkers())).toEqual(new Set([0]));
  const [outcome] = await fixture.query<JobsOutcome>(`
    select (select count(*)::int from job_intent) as jobs,
      (select count(*)::int from job_run) as runs,
      (select count(*)::int from job_intent left join job_effect using (n) where job_id is null) as lost,
      ((select sum(balance) from job_account) - (select coalesce(sum(n), 0) from job_intent))::int as excess,
      (select count(*)::int from pgboss.job) as failed`);
  expect(outcome).toMatchObject({ lost: 0, excess: 0, failed: 0 });
  return outcome ?? { jobs: 0, runs: 0, lost: Number.NaN, excess: Number.NaN, failed: Number.NaN };
}

/**
 * Kills a worker in a job after its effect. At least two must run.
 * @returns the time until another worker has run the job, in milliseconds
 */
export async function killWorkerInJob(fixture: FaultFixture): Promise<number> {
  const lock = await fixture.connect();
  await lock.query("select pg_advisory_lock($1)", [WAITING_KEY]);
  await fixture.enqueue(1, { waits: true });
  const [{ n } = {}] = await fixture.query<{ n: number }>("select max(n) as n from job_intent");
  await expect.poll(() => count(fixture, "from job_run where n = $1", [n]), WAIT).toBe(1);
  const [{ pid } = {}] = await fixture.query<{ pid: number }>("select pid from job_run where n = $1", [n]);
  fixture.killWorker(pid ?? 0);
  await lock.query("insert into job_run (n, pid) values (-$1::int, 0)", [n]);
  await lock.end();
  await expect.poll(() => count(fixture, "from job_run where n = $1", [n]), WAIT).toBe(2);
  const [{ ms } = {}] = await fixture.query<{ ms: number }>(
    `select extract(epoch from max(at) filter (where n > 0) - max(at) filter (where n < 0))::float8 * 1000 as ms
     from job_run where n = any($1)`,
    [[n, -(n ?? 0)]],
  );
  await fixture.query("delete from job_run where n < 0");
  return ms ?? Number.NaN;
}

/** Runs a fault several times while jobs are enqueued and run, with progress between the faults. */
export async function repeatUnderLoad(
  fixture: FaultFixture,
  { jobs, times }: { jobs: number; times: number },
  fault: (index: number) => Promise<void>,
): Promise<void> {
  const enqueuing = fixture.enqueue(jobs, { perTransaction: 20 });
  for (let index = 0; index < times; index += 1) {
    await effects(fixture, Math.floor(((index + 1) * jobs) / (times + 2)));
    await fault(index);
  }
  await enqueuing;
}

/**
 * Terminates all connections of workers and of the process that enqueues, again and again, until a number of them were
 * terminated.
 * @returns their number
 */
export async function terminateConnections(fixture: FaultFixture, atLeast: number): Promise<number> {
  let terminated = 0;
  while (terminated < atLeast) {
    const before = await count(fixture, "from job_effect");
    terminated += await count(
      fixture,
      `from pg_stat_activity, pg_terminate_backend(pid)
       where datname = current_database() and application_name <> 'fault test'`,
    );
    // The next time, the workers have connected again and run jobs.
    await effects(fixture, before + 1);
  }
  return terminated;
}

/**
 * Enqueues jobs, then runs them.
 * @returns jobs a second from the first effect to the last, and what has become of them
 */
export async function measureThroughput(
  fixture: FaultFixture,
  jobs: number,
): Promise<{ rate: number; outcome: JobsOutcome }> {
  await fixture.enqueue(jobs, { perTransaction: 500 });
  await fixture.startWorker();
  await fixture.startWorker();
  const outcome = await expectAllDone(fixture);
  const [row] = await fixture.query<{ rate: number }>(
    `select ($1 / extract(epoch from max(at) - min(at)))::float8 as rate from (select at from job_run order by at desc limit $1) as last`,
    [jobs],
  );
  return { rate: row?.rate ?? Number.NaN, outcome };
}

/** Opens a transaction whose snapshot keeps PostgreSQL from removing any row that is deleted from now on. */
export async function openLongTransaction(fixture: FaultFixture): Promise<() => Promise<void>> {
  const client = await fixture.connect();
  await client.query("begin transaction isolation level repeatable read");
  await client.query("select pg_current_xact_id()");
  return async () => {
    await client.query("commit");
    await client.end();
  };
}
