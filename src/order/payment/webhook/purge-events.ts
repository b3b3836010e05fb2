import { sql } from "kysely";
import type { Database } from "../../../infra/postgres/postgres.ts";
import { purgeInBatches } from "../../../infra/postgres/purge-in-batches.ts";
import type { Call } from "../../../kernel/call.ts";

/**
 * Deletes webhooks that were processed more than 90 days ago, by the clock of the database, in small batches. Their facts
 * stay in the ledger. Rows that another process is deleting are left to it.
 */
export async function purgeEvents(db: Database, call: Call): Promise<void> {
  await purgeInBatches(
    db,
    call,
    (limit) => sql`
      delete from webhook_event where (gateway, event_id) in (
        select gateway, event_id from webhook_event
        where processed_at is not null and processed_at < now() - interval '90 days'
        order by processed_at limit ${limit} for update skip locked
      )
      returning 1`,
  );
}
