import { sql } from "kysely";
import { ALL_TAGS } from "../../infra/cache/redis-tier.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import { violatesConstraint } from "../../infra/postgres/postgres-errors.ts";
import type { Inventory } from "../../inventory/inventory.ts";
import { mapConcurrent } from "../../kernel/async/map-concurrent.ts";
import { withRetries } from "../../kernel/async/with-retries.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { invalidField } from "../../kernel/errors.ts";
import type { Ids } from "../../kernel/ids.ts";
import { batchRows, firstMissingRow, type ImportBatch } from "./batch/batch-rows.ts";
import { createWordIndexer } from "./batch/index-words.ts";
import { writeBatch } from "./batch/write-batch.ts";
import { deleteAbsent } from "./delete-absent.ts";
import { invalidSkuError, missingRowsError, noValidRowError } from "./import-errors.ts";
import { beginImport, type ImportProgress, lockComplete, readProgress } from "./progress.ts";
import type { ImportChunk } from "./row.ts";
import { purgeSkus } from "./seen-skus.ts";

/** Dependencies of an import. */
interface ImportProductsOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  inventory: Inventory;
}

/** Batches that are written concurrently: more than PostgreSQL has cores, as some of them wait for the disk. */
const CONCURRENT_BATCHES = 4;
/** Attempts to write a batch while others create the same products. */
const WRITE_ATTEMPTS = 3;
const FIRST_DELAY_MS = 5;

/**
 * Imports products from a stream of rows. Rows are written in batches, each in one transaction, some concurrently
 * while the next is read and validated; no others are in memory. The import records the written rows, so that an
 * interrupted stream can be sent again.
 * @returns the result of the import over all its streams, and whether it is replayed from an earlier run
 * @throws AppError failed_precondition for missing rows, and in mode FULL when no row is valid, a row has no valid sku
 *   or too many products would be deleted; aborted when another stream continues the same import; invalid_argument
 *   when the request_id belongs to another import
 */
export async function importProducts(
  options: ImportProductsOptions,
  call: Call,
  chunks: AsyncGenerator<ImportChunk>,
): Promise<ImportProgress & { replayed: boolean }> {
  const { db, clock } = options;
  try {
    const first = await chunks.next();
    if (first.done === true) throw invalidField("request_id", "is required: the stream has no message");
    const { requestId } = first.value;
    const { isFinished, written } = await beginImport(db, call, first.value, clock.now());
    if (!isFinished) {
      const batches = batchRows(first.value, written, prepend(first.value, chunks));
      const indexWords = createWordIndexer(db, call);
      await mapConcurrent(batches, CONCURRENT_BATCHES, async (batch) => {
        await indexWords(batch.rows);
        await writeWithRetries(options, call, requestId, batch);
      });
      // The process of an earlier stream may have died between the commit of a batch and its invalidation.
      if (written.length > 0) await db.transact(call, async (tx) => tx.invalidate(ALL_TAGS));
      await finishImport(options, call, first.value);
    }
    // Also for a finished one, as a crash may have prevented it.
    await purgeSkus(db, call, requestId);
    return { ...(await readProgress(db, call, requestId)), replayed: isFinished };
  } finally {
    // Not awaited: a pending read of the stream may never settle.
    chunks.return(undefined).catch(() => {});
  }
}

/** Writes a batch. Retries when another transaction has created one of its products, which is updated then. */
function writeWithRetries(
  { db, ids, clock, inventory }: ImportProductsOptions,
  call: Call,
  requestId: string,
  batch: ImportBatch,
): Promise<void> {
  const write = () => db.transact(call, (tx) => writeBatch({ tx, ids, inventory, requestId, clock }, batch));
  return withRetries(write, {
    attempts: WRITE_ATTEMPTS,
    firstDelayMs: FIRST_DELAY_MS,
    isRetryable: (error) => violatesConstraint(error, "product_sku_unique"),
    signal: call.signal,
  });
}

/** Finishes an import whose rows are all written. */
async function finishImport(
  options: ImportProductsOptions,
  call: Call,
  { requestId, mode, maxDeletes }: ImportChunk,
): Promise<void> {
  const { db, clock } = options;
  const progress = await readProgress(db, call, requestId);
  const { written, rowCount, createdCount, updatedCount, unchangedCount } = progress;
  const [, rangeAfterGap] = written;
  if (rangeAfterGap !== undefined) throw missingRowsError(rangeAfterGap[0], firstMissingRow(written));
  if (mode === "FULL") {
    if (createdCount + updatedCount + unchangedCount === 0) throw noValidRowError(requestId, progress);
    if (progress.unidentifiedCount > 0) throw invalidSkuError(progress);
    await deleteAbsent(options, call, { requestId, rowCount, maxDeletes });
  }
  await db.transact(call, async (tx) => {
    await lockComplete(tx, requestId, rowCount);
    await tx.query(
      sql`update product_import set finished_at = ${clock.now()} where request_id = ${requestId}`,
    );
  });
}

async function* prepend<T>(first: T, rest: AsyncGenerator<T>): AsyncGenerator<T> {
  yield first;
  yield* rest;
}
