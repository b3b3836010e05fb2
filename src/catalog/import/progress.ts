import { sql } from "kysely";
import { type Database, prepared, type Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError, invalidField } from "../../kernel/errors.ts";

/** Whether products that are not among the rows stay as they are or are deleted. */
export type ImportMode = "INCREMENTAL" | "FULL";

/** Which import a stream belongs to. */
export interface ImportKey {
  /** In lower case. */
  requestId: string;
  mode: ImportMode;
}

/** A row that was not imported, and why. */
export interface RowError {
  /** The first row is 1. */
  rowNumber: number;
  sku: string;
  field: string;
  description: string;
}

/** What an import has done. */
export interface ImportCounts {
  rowCount: number;
  createdCount: number;
  updatedCount: number;
  unchangedCount: number;
  deletedCount: number;
  failedCount: number;
}

/** Rows of an import from one that comes after `from` others to one that comes before the row after `to`. */
export type RowRange = readonly [from: number, to: number];

/** How far an import has come, over all its streams. */
export interface ImportState extends ImportCounts {
  /** The first of them. */
  errors: RowError[];
  /** The rows that are written, in order. Batches are written side by side, so a break can leave holes. */
  taken: readonly RowRange[];
  finished: boolean;
}

/** The errors that are kept of an import: who has more has one mistake in all rows. */
const MAX_ERRORS = 1_000;

const FIND = prepared(`
  select mode, row_count::float8 as "rowCount", created_count::float8 as "createdCount",
    updated_count::float8 as "updatedCount", unchanged_count::float8 as "unchangedCount",
    deleted_count::float8 as "deletedCount", failed_count::float8 as "failedCount", errors,
    array(select array[lower(part), upper(part)]::float8[] from unnest(taken) as part order by part) as taken,
    finished_at is not null as finished
  from product_import where request_id = $1`);

/**
 * Begins an import, or goes on with it.
 * @returns how far it has come
 * @throws INVALID_ARGUMENT when it was begun under another mode
 */
export async function beginImport(db: Database, call: Call, key: ImportKey, now: Date): Promise<ImportState> {
  const { requestId, mode } = key;
  const [begun] = await db.transact(call, (tx) =>
    tx.query(sql<{ mode: ImportMode }>`
      insert into product_import (request_id, mode, errors, created_at)
      values (${requestId}, ${mode}, '[]', ${now})
      on conflict (request_id) do update set mode = product_import.mode returning mode`),
  );
  if (begun?.mode === mode) return readImport(db, call, requestId);
  throw invalidField(
    "request_id",
    `was used before for an import of mode ${begun?.mode}. Make a new UUID for each new import.`,
    "REQUEST_ID_REUSED",
  );
}

/** How far an import has come. */
export async function readImport(db: Database, call: Call, requestId: string): Promise<ImportState> {
  const [state] = await db.read<ImportState>(call, FIND, [requestId]);
  if (state === undefined) throw new Error("an import that is gone");
  return state;
}

/**
 * Notes in the transaction that writes them that rows are taken, and what has become of them.
 * @throws ABORTED when another stream has taken some of them
 */
export async function recordRows(
  tx: Tx,
  requestId: string,
  [from, to]: RowRange,
  counts: Omit<ImportCounts, "rowCount" | "deletedCount">,
  errors: readonly RowError[],
): Promise<void> {
  const first = sql`(
    select jsonb_agg(error order by number) from (
      select error, (error ->> 'rowNumber')::bigint as number
      from jsonb_array_elements(errors || ${JSON.stringify(errors)}::jsonb) as error order by number limit ${MAX_ERRORS}
    ) as first
  )`;
  const taken = await tx.query(sql`
    update product_import set
      taken = taken + int8multirange(int8range(${from}, ${to})), row_count = row_count + ${to - from},
      created_count = created_count + ${counts.createdCount}, updated_count = updated_count + ${counts.updatedCount},
      unchanged_count = unchanged_count + ${counts.unchangedCount},
      failed_count = failed_count + ${counts.failedCount}, errors = ${errors.length === 0 ? sql`errors` : first}
    where request_id = ${requestId} and finished_at is null and not taken && int8range(${from}, ${to})
    returning 1`);
  if (taken.length === 0) throw elsewhere();
}

/**
 * Locks an import whose rows are all written until the caller's transaction ends.
 * @throws ABORTED when another stream has gone on with it
 */
export async function lockComplete(tx: Tx, requestId: string, rowCount: number): Promise<void> {
  const locked = await tx.query(sql`
    select 1 from product_import
    where request_id = ${requestId} and finished_at is null
      and taken = int8multirange(int8range(0, ${rowCount}))
    for update`);
  if (locked.length === 0) throw elsewhere();
}

function elsewhere(): AppError {
  return new AppError(
    "conflict",
    "Another stream has gone on with this import meanwhile. Send its rest under the same request_id once that one has ended.",
    { reason: "IMPORT_RUNNING_ELSEWHERE" },
  );
}
