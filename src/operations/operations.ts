import { sql } from "kysely";
import type { FailedJob, FailedJobs } from "../infra/jobs/failed-jobs.ts";
import type { Database, SnapshotQuery } from "../infra/postgres/postgres.ts";
import type { Call } from "../kernel/call.ts";
import { HOUR_MS } from "../kernel/durations.ts";
import { AppError } from "../kernel/errors.ts";
import type { Page, PageRequest } from "../kernel/page.ts";
import type { CheckResult } from "./invariants/check.ts";
import { preventTruncation, runChecks } from "./invariants/run-checks.ts";

export type { FailedJob } from "../infra/jobs/failed-jobs.ts";
export type { Breach, CheckResult } from "./invariants/check.ts";
export { preventTruncation, runChecks } from "./invariants/run-checks.ts";

/** The results of all checks on one snapshot of the data. */
export interface Verification {
  /** Time of the snapshot, by the clock of the database. */
  snapshotTime: Date;
  checks: CheckResult[];
}

/** Operation of the service. */
export interface Operations {
  /**
   * Checks the invariants of all data in one snapshot of the primary. Takes no locks on rows or tables that writers wait
   * for.
   * @param maxBreaches maximum number of breaches to return for each check; `DEFAULT_MAX_BREACHES` when 0
   * @throws AppError aborted while another verification is running, deadline_exceeded when the checks take too long
   */
  verifyInvariants(call: Call, maxBreaches: number): Promise<Verification>;
  /**
   * Lists the jobs that have failed in their last attempt, the last one to fail first.
   * @param page.queue name of a queue; empty for all
   */
  listFailedJobs(call: Call, page: PageRequest & { queue: string }): Promise<Page<FailedJob>>;
  /**
   * Puts a failed job back into its queue.
   * @throws AppError not_found when there is no such job, failed_precondition when it has not failed
   */
  retryJob(call: Call, id: string): Promise<void>;
}

/** Dependencies of the operations. */
export interface OperationsOptions {
  db: Pick<Database, "readSnapshot">;
  failedJobs: FailedJobs;
}

/** Maximum number of breaches that are returned for each check by default. */
export const DEFAULT_MAX_BREACHES = 20;
/** Time limit of a verification without a deadline, in milliseconds. */
const TIME_LIMIT_MS = HOUR_MS;
/** Key of the advisory lock that allows one verification at a time in a database: "veri" in ASCII. */
const LOCK_KEY = 0x76657269;

/** Creates the operations. */
export function createOperations({ db, failedJobs }: OperationsOptions): Operations {
  return {
    verifyInvariants: (call, maxBreaches) => verifyInvariants(db, call, maxBreaches),
    listFailedJobs: failedJobs.list,
    retryJob: failedJobs.retry,
  };
}

/** Checks the invariants as `Operations.verifyInvariants` does. */
export function verifyInvariants(
  db: OperationsOptions["db"],
  call: Call,
  maxBreaches: number,
): Promise<Verification> {
  return db.readSnapshot(call, TIME_LIMIT_MS, async (query) => {
    await preventTruncation(query);
    const snapshotTime = await startVerification(query);
    return { snapshotTime, checks: await runChecks(query, maxBreaches || DEFAULT_MAX_BREACHES) };
  });
}

/**
 * Locks out other verifications until the transaction ends: several together would only slow down each other and the
 * shop.
 * @returns the time of the snapshot
 */
async function startVerification(query: SnapshotQuery): Promise<Date> {
  const [row] = await query(sql<{ acquired: boolean; snapshot_time: string }>`
    select pg_try_advisory_xact_lock(${LOCK_KEY}) as acquired, now() as snapshot_time`);
  if (row?.acquired === true) return new Date(row.snapshot_time);
  throw new AppError("aborted", "Another verification is running. Retry when it has ended.", {
    reason: "VERIFICATION_RUNNING",
  });
}
