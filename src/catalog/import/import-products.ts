import { sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import { violatesConstraint } from "../../infra/postgres/postgres-errors.ts";
import type { Inventory } from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { AppError, invalidField } from "../../kernel/errors.ts";
import type { Ids } from "../../kernel/ids.ts";
import { batchRows, firstMissing, mapConcurrent, missingRowsError, prepend } from "./batch-rows.ts";
import { deleteAbsent, purgeSkus } from "./delete-absent.ts";
import { createWordIndexer } from "./index-words.ts";
import { beginImport, type ImportKey, type ImportState, lockComplete, readImport } from "./progress.ts";
import type { ImportChunk } from "./row.ts";
import { type ImportBatch, writeBatch } from "./write-batch.ts";

/** What the import is made of. */
interface ImportOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  inventory: Inventory;
}

/** Batches that are written at a time: more than PostgreSQL has cores for, as some wait for the disk meanwhile. */
const WRITERS = 4;
/** Tries of a batch whose products somebody else is creating at the same time. */
const TRIES = 3;

/**
 * Imports products from a stream of rows. Rows are written in batches, each all or nothing, some side by side
 * while the next is read and checked; no more than those are in memory. The import remembers which rows it
 * has taken, so that a stream which breaks can be sent again.
 * @returns what the import has done over all its streams, and whether it was complete before
 * @throws FAILED_PRECONDITION for rows that are missing in between, and in mode FULL when none is good;
 *   ABORTED when two streams go on with one import; INVALID_ARGUMENT when the request_id is another import's
 */
export async function importProducts(
  options: ImportOptions,
  call: Call,
  parts: AsyncGenerator<ImportChunk>,
): Promise<ImportState & { replayed: boolean }> {
  const { db, clock } = options;
  try {
    const first = await parts.next();
    if (first.done === true) throw invalidField("request_id", "is required: the stream has no message");
    const { requestId, mode } = first.value;
    const key = { requestId, mode };
    const begun = await beginImport(db, call, key, clock.now());
    if (!begun.finished) {
      const batches = batchRows(key, begun.taken, prepend(first.value, parts));
      const learn = createWordIndexer(db, call);
      await mapConcurrent(batches, WRITERS, async (batch) => {
        await learn(batch.items);
        await write(options, call, requestId, batch);
      });
      await finish(options, call, key);
    }
    // Asked again, an import that is finished forgets what a crash may have left.
    await purgeSkus(db, call, requestId);
    return { ...(await readImport(db, call, requestId)), replayed: begun.finished };
  } finally {
    // Not awaited: it would wait behind a read that never ends.
    parts.return(undefined).catch(() => {});
  }
}

async function write(
  { db, ...room }: ImportOptions,
  call: Call,
  requestId: string,
  batch: ImportBatch,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await db.transact(call, (tx) => writeBatch(tx, room, requestId, batch));
    } catch (error) {
      // Somebody has created one of the products meanwhile: the next try finds it.
      if (!violatesConstraint(error, "product_sku_unique") || attempt === TRIES) throw error;
    }
  }
}

/** Ends an import whose rows are all written. */
async function finish(options: ImportOptions, call: Call, { requestId, mode }: ImportKey): Promise<void> {
  const { db, clock } = options;
  const { taken, rowCount, ...counts } = await readImport(db, call, requestId);
  const [, second] = taken;
  if (second !== undefined) throw missingRowsError(second[0], firstMissing(taken));
  if (mode === "FULL") {
    if (counts.createdCount + counts.updatedCount + counts.unchangedCount === 0) throw empty(requestId);
    await deleteAbsent(options, call, requestId, rowCount);
  }
  await db.transact(call, async (tx) => {
    await lockComplete(tx, requestId, rowCount);
    await tx.query(
      sql`update product_import set finished_at = ${clock.now()} where request_id = ${requestId}`,
    );
  });
}

function empty(requestId: string): AppError {
  const description = "none of its rows is good, so all products would be deleted";
  return new AppError(
    "failed_precondition",
    `The import is not complete: ${description}. Nothing was deleted.`,
    {
      reason: "IMPORT_EMPTY",
      preconditions: [{ type: "ROWS", subject: `imports/${requestId}`, description }],
    },
  );
}
