import { sql } from "kysely";
import { type BatchStats, createBatchWriter } from "../../infra/batch-writer/batch-writer.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import { internalCall } from "../../kernel/call.ts";
import { type ApplyOptions, lockReports, writeReports } from "./report/apply-reports.ts";
import type { AppliedReport, Report } from "./report/report.ts";
import { readTargets, targetKeys } from "./report/report-targets.ts";

/** Applies reports of gateways in shared transactions. */
export interface ReportWriter {
  /**
   * Applies a report and resolves after the commit. A report that was applied already changes nothing, so a call whose
   * outcome is unknown can be repeated. It does not depend on the call that has caused the report: what a gateway has
   * stated is stored even when the caller has disconnected.
   * @throws AppError unavailable when too many reports wait, or for too long; aborted when the order stayed locked
   */
  apply(report: Report): Promise<AppliedReport>;
  stats(): BatchStats;
}

/** Dependencies of the writer. */
export interface ReportWriterOptions extends ApplyOptions {
  db: Database;
  /** Upper bound of one statement of a batch, in milliseconds. */
  statementTimeoutMs: number;
  /** Longest time that a report waits for a batch, in milliseconds. */
  waitMs: number;
}

const LIMITS = { items: 256, keys: 1_024, maxInFlight: 2, waiting: 10_000 };
const LOCK_TIMEOUT_MS = 100;

const FIND_FREE = prepare<[ids: readonly string[]], { id: string }>(
  (ids) => sql`select id from orders where id = any(${ids}::uuid[]) for update skip locked`,
);

/** Creates the writer. */
export function createReportWriter(options: ReportWriterOptions): ReportWriter {
  const { db, ids, clock, log, statementTimeoutMs, waitMs } = options;
  const writer = createBatchWriter({
    db,
    audit: { ids, clock },
    statementTimeoutMs,
    lockTimeoutMs: LOCK_TIMEOUT_MS,
    log,
    limits: { ...LIMITS, waitMs },
    work: {
      keysOf: targetKeys,
      lock: (tx, reports: readonly Report[]) => lockReports(tx, reports),
      write: (tx, locked, reports) => writeReports(options, tx, locked, reports),
      findLocked,
    },
  });
  return { apply: (report) => writer.write(internalCall(), report), stats: writer.stats };
}

/** Returns the keys of reports whose orders another session has locked, without waiting for them. */
async function findLocked(tx: Tx, reports: readonly Report[]): Promise<ReadonlySet<string>> {
  const { targets } = await readTargets(tx, reports);
  const orderIds = [...new Set(targets.flatMap(({ payment }) => payment?.order_id ?? []))];
  const free = new Set((await tx.query(FIND_FREE(orderIds))).map(({ id }) => id));
  const locked = targets.filter(({ payment }) => payment !== undefined && !free.has(payment.order_id));
  return new Set(locked.flatMap(({ report }) => targetKeys(report)));
}
