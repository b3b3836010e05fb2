import { sql } from "kysely";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError, type FieldViolation, invalidField } from "../../kernel/errors.ts";

/** INCREMENTAL leaves products without a row unchanged, FULL deletes them. */
export type ImportMode = "INCREMENTAL" | "FULL";

/** The identity of an import. */
export interface ImportKey {
  /** In lower case. */
  requestId: string;
  mode: ImportMode;
}

/** The error of a row that was not imported. */
export interface RowError extends FieldViolation {
  /** The first row is 1. */
  rowNumber: number;
  sku: string;
}

/** Numbers of rows by their result, and of products that were deleted because they have no row. */
export interface ImportCounts {
  rowCount: number;
  createdCount: number;
  updatedCount: number;
  unchangedCount: number;
  deletedCount: number;
  failedCount: number;
  /** Failed rows without a valid sku, so that their products are unknown. */
  unidentifiedCount: number;
}

/** The rows with the offsets `from` up to, but not including, `to`. */
export type RowRange = readonly [from: number, to: number];

/** Progress of an import over all its streams. */
export interface ImportProgress extends ImportCounts {
  /** The first 1,000 errors. */
  errors: RowError[];
  /** Rows that are written, in order. Batches are written concurrently, so an interruption can leave gaps. */
  written: readonly RowRange[];
  isFinished: boolean;
}

/** Maximum number of errors that are stored for an import. More of them usually have one cause. */
const MAX_ERRORS = 1_000;

const findProgress = prepare<[requestId: string], ImportProgress>(
  (requestId) => sql`
    select row_count::float8 as "rowCount", created_count::float8 as "createdCount",
      updated_count::float8 as "updatedCount", unchanged_count::float8 as "unchangedCount",
      deleted_count::float8 as "deletedCount", failed_count::float8 as "failedCount",
      unidentified_count::float8 as "unidentifiedCount", errors,
      array(
        select array[lower(range), upper(range)]::float8[] from unnest(taken) as range order by range
      ) as written,
      finished_at is not null as "isFinished"
    from product_import where request_id = ${requestId}`,
);

/**
 * Starts an import or resumes it.
 * @returns its progress
 * @throws AppError invalid_argument when it was started in another mode
 */
export async function beginImport(
  db: Database,
  call: Call,
  { requestId, mode }: ImportKey,
  now: Date,
): Promise<ImportProgress> {
  const [started] = await db.transact(call, (tx) =>
    tx.query(sql<{ mode: ImportMode }>`
      insert into product_import (request_id, mode, errors, created_at)
      values (${requestId}, ${mode}, '[]', ${now})
      on conflict (request_id) do update set mode = product_import.mode returning mode`),
  );
  if (started?.mode === mode) return readProgress(db, call, requestId);
  throw invalidField(
    "request_id",
    `was used for an import of mode ${started?.mode}. Use a new UUID for each import.`,
    "REQUEST_ID_REUSED",
  );
}

/** Returns the progress of an import that has begun. */
export async function readProgress(db: Database, call: Call, requestId: string): Promise<ImportProgress> {
  return firstProgress(await db.read(call, findProgress(requestId)));
}

/** Returns the progress of an import that has begun, as the caller's transaction sees it. */
export async function readProgressIn(tx: Tx, requestId: string): Promise<ImportProgress> {
  return firstProgress(await tx.query(findProgress(requestId)));
}

function firstProgress([progress]: readonly ImportProgress[]): ImportProgress {
  if (progress === undefined) throw new Error("the import does not exist");
  return progress;
}

/**
 * Records rows as written, with their results, in the transaction that writes them.
 * @throws AppError aborted when another stream has written some of them
 */
export async function recordRows(
  tx: Tx,
  requestId: string,
  [from, to]: RowRange,
  counts: Omit<ImportCounts, "rowCount" | "deletedCount">,
  errors: readonly RowError[],
): Promise<void> {
  const firstErrors = sql`(
    select jsonb_agg(error order by number) from (
      select error, (error ->> 'rowNumber')::bigint as number
      from jsonb_array_elements(errors || ${JSON.stringify(errors)}::jsonb) as error order by number limit ${MAX_ERRORS}
    ) as first
  )`;
  const recorded = await tx.query(sql`
    update product_import set
      taken = taken + int8multirange(int8range(${from}, ${to})), row_count = row_count + ${to - from},
      created_count = created_count + ${counts.createdCount}, updated_count = updated_count + ${counts.updatedCount},
      unchanged_count = unchanged_count + ${counts.unchangedCount},
      failed_count = failed_count + ${counts.failedCount},
      unidentified_count = unidentified_count + ${counts.unidentifiedCount},
      errors = ${errors.length === 0 ? sql`errors` : firstErrors}
    where request_id = ${requestId} and finished_at is null and not taken && int8range(${from}, ${to})
    returning 1`);
  if (recorded.length === 0) throw concurrentStreamError();
}

/**
 * Locks an import whose rows are all written until the caller's transaction ends.
 * @returns the number of products that it has deleted
 * @throws AppError aborted when another stream has continued it
 */
export async function lockComplete(tx: Tx, requestId: string, rowCount: number): Promise<number> {
  const [locked] = await tx.query(sql<{ deletedCount: number }>`
    select deleted_count::float8 as "deletedCount" from product_import
    where request_id = ${requestId} and finished_at is null
      and taken = int8multirange(int8range(0, ${rowCount}))
    for update`);
  if (locked === undefined) throw concurrentStreamError();
  return locked.deletedCount;
}

function concurrentStreamError(): AppError {
  return new AppError(
    "aborted",
    "Another stream is importing under the same request_id. Send the remaining rows once it has ended.",
    { reason: "IMPORT_RUNNING_ELSEWHERE" },
  );
}
