import { sql } from "kysely";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";

/** Skus that are deleted in one transaction. */
const PURGE_BATCH = 50_000;

/**
 * Records skus as seen by an import, until it is finished and `purgeSkus` deletes them.
 * @returns the skus that are new to it
 */
export async function recordSkus(tx: Tx, requestId: string, skus: ReadonlySet<string>): Promise<Set<string>> {
  // In order, so that concurrent batches cannot deadlock.
  const sorted = [...skus].sort();
  const recorded = await tx.query(sql<{ sku: string }>`
    insert into product_import_sku (request_id, sku)
    select ${requestId}, sku from unnest(${sorted}::text[]) as seen (sku)
    on conflict do nothing returning sku`);
  return new Set(recorded.map(({ sku }) => sku));
}

/**
 * Deletes the skus of a finished import. An unfinished one needs them when it is resumed. Rows are located by a
 * limited index scan and deleted by ctid, as statistics that predate the import would lead to a scan of the table.
 */
export async function purgeSkus(db: Database, call: Call, requestId: string): Promise<void> {
  const purgeBatch = () =>
    db.transact(call, async (tx) => {
      const [purged] = await tx.query(sql<{ count: number }>`
        with purged as (
          delete from product_import_sku where ctid = any(array(
            select ctid from product_import_sku where request_id = ${requestId} limit ${PURGE_BATCH}
          )) returning 1
        )
        select count(*)::int from purged`);
      return purged?.count ?? 0;
    });
  for (let count = PURGE_BATCH; count === PURGE_BATCH; ) count = await purgeBatch();
}
