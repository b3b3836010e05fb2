import type { RawBuilder } from "kysely";
import type { Call } from "../../kernel/call.ts";
import type { Database } from "./postgres.ts";

/** Maximum rows per transaction, so that a purge holds its locks only briefly. */
const BATCH_ROWS = 5_000;

/**
 * Runs a `delete ... returning` in transactions of bounded size until a batch is not full.
 * @param statement returns a row for each deleted one, `limit` at most
 */
export async function purgeInBatches(
  db: Database,
  call: Call,
  statement: (limit: number) => RawBuilder<unknown>,
): Promise<void> {
  let deleted: number;
  do {
    const rows = await db.transact(call, (tx) => tx.query(statement(BATCH_ROWS)));
    deleted = rows.length;
  } while (deleted === BATCH_ROWS);
}
