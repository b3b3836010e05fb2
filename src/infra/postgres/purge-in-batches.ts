import type { RawBuilder } from "kysely";
import type { Call } from "../../kernel/call.ts";
import type { Database } from "./postgres.ts";

/** Maximum rows per transaction, so that a purge holds its locks only briefly. */
const BATCH_ROWS = 5_000;
/** Maximum number of transactions of a purge, so that one that has much to delete does not delay other maintenance. */
const MAX_BATCHES = 20;

/**
 * Runs a `delete ... returning` in transactions of bounded size until a batch is not full, 20 at most. The next purge
 * deletes the rest.
 * @param statement returns a row for each deleted one, `limit` at most
 */
export async function purgeInBatches(
  db: Database,
  call: Call,
  statement: (limit: number) => RawBuilder<unknown>,
): Promise<void> {
  for (let batch = 0; batch < MAX_BATCHES; batch += 1) {
    const deleted = await db.transact(call, (tx) => tx.query(statement(BATCH_ROWS)));
    if (deleted.length < BATCH_ROWS) return;
  }
}
