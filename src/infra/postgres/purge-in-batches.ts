import type { RawBuilder } from "kysely";
import type { Call } from "../../kernel/call.ts";
import type { Database } from "./postgres.ts";

/** Maximum rows per transaction, so that a purge holds its locks only briefly. */
const BATCH_ROWS = 5_000;
/**
 * Time after which a purge starts no further transaction, in milliseconds, so that one that has much to delete does not
 * delay other maintenance.
 */
export const PURGE_MS = 10_000;

/**
 * Runs a `delete ... returning` in transactions of bounded size until a batch is not full, or for PURGE_MS. The next
 * purge deletes the rest.
 * @param statement returns a row for each deleted one, `limit` at most
 * @param nowMs a clock in milliseconds
 */
export async function purgeInBatches(
  db: Database,
  call: Call,
  statement: (limit: number) => RawBuilder<unknown>,
  nowMs = () => performance.now(),
): Promise<void> {
  const endMs = nowMs() + PURGE_MS;
  let deleted: unknown[];
  do {
    deleted = await db.transact(call, (tx) => tx.query(statement(BATCH_ROWS)));
  } while (deleted.length === BATCH_ROWS && nowMs() < endMs);
}
