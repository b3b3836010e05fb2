import type { Queue } from "../../../../src/infra/jobs/queues.ts";

/** A job that adds `n` to a balance, once. */
export interface FaultJob {
  n: number;
  /** Whether the job waits for the lock `WAITING_KEY` after its effect. */
  waits?: true;
}

/** A queue that workers poll. */
export const polledFaults: Queue<FaultJob> = {
  name: "polled-faults",
  batchSize: 50,
  expireInSeconds: 300,
  maxAttempts: 16,
  notify: false,
};

/** A queue whose workers are notified of commits. */
export const notifiedFaults: Queue<FaultJob> = { ...polledFaults, name: "notified-faults", notify: true };

export const faultQueues: readonly Queue<FaultJob>[] = [polledFaults, notifiedFaults];

/** Key of the advisory lock that waiting jobs need. */
export const WAITING_KEY = 20_002;
export const ACCOUNTS = 64;

/**
 * `job_intent` has a row for each transaction that enqueued a job, `job_run` one for each attempt that had its effect or
 * found it, and `job_effect` one for each job. Balances are what would be wrong if an effect happened twice.
 */
export const FAULT_TABLES = `
  create table job_intent (n int primary key);
  create table job_run (n int not null, pid int not null, at timestamptz not null default clock_timestamp());
  create table job_effect (job_id uuid primary key, n int not null);
  create table job_account (id int primary key, balance bigint not null);
  insert into job_account select id, 0 from generate_series(0, ${ACCOUNTS - 1}) as id`;
