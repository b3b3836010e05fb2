import { sql } from "kysely";
import type { Call } from "../../../kernel/call.ts";
import type { Database } from "../postgres.ts";
import { purgeInBatches } from "../purge-in-batches.ts";

/**
 * Deletes the results of requests that are older than 7 days, by the clock of the database, in small batches. A repeat
 * is executed again after that. Rows that another process is deleting are left to it.
 */
export async function purgeRequests(db: Database, call: Call): Promise<void> {
  await purgeInBatches(
    db,
    call,
    (limit) => sql`
      delete from idempotency where (method, owner, request_id) in (
        select method, owner, request_id from idempotency
        where created_at < now() - interval '7 days' order by created_at limit ${limit} for update skip locked
      )
      returning 1`,
  );
}
