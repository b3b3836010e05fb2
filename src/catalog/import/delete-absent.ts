import { sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { productTags } from "../product/product.ts";
import { lockComplete } from "./progress.ts";

/** Products that are looked at in one transaction: some tens of milliseconds if all of them go. */
const WINDOW = 1_000;
/** Skus that are forgotten in one transaction. */
const FORGOTTEN = 50_000;
const FIRST_ID = "00000000-0000-0000-0000-000000000000";

/**
 * Deletes the products whose sku an import has not had. It walks through all products by their ids, some at
 * a time, so that it never holds many locks, and can be begun anew after a break: what is deleted stays so.
 */
export async function deleteAbsent(
  { db, clock }: { db: Database; clock: Clock },
  call: Call,
  requestId: string,
  rowCount: number,
): Promise<void> {
  for (let after: string | undefined = FIRST_ID; after !== undefined; ) {
    after = await removeAbsentAfter({ db, clock }, call, requestId, rowCount, after);
  }
}

/**
 * Each sku is looked up by itself. As a join it would be planned by statistics, which know nothing of an import
 * that runs, and then each product be held to all of its rows.
 * @returns the id behind which to go on; undefined at the end
 */
function removeAbsentAfter(
  { db, clock }: { db: Database; clock: Clock },
  call: Call,
  requestId: string,
  rowCount: number,
  after: string,
): Promise<string | undefined> {
  return db.transact(call, async (tx) => {
    const now = clock.now();
    await lockComplete(tx, requestId, rowCount);
    const [last] = await tx.query(sql<{ id: string }>`
      select id from (select id from product where id > ${after} order by id limit ${WINDOW}) as page
      order by id desc limit 1`);
    if (last === undefined) return undefined;
    const removed = await tx.query(sql<{ id: string; sku: string }>`
      update product set deleted_at = ${now}, updated_at = ${now}, version = version + 1
      where id in (
        select id from product
        where id > ${after} and id <= ${last.id} and active
          and created_at < (select created_at from product_import where request_id = ${requestId}) and (
          select sku from product_import_sku as had where had.request_id = ${requestId} and had.sku = product.sku
        ) is null
        order by id for no key update
      )
      returning id, sku`);
    if (removed.length === 0) return last.id;
    for (const product of removed) tx.invalidate(...productTags(product), "catalog", "categories");
    await tx.query(sql`
      update product_import set deleted_count = deleted_count + ${removed.length}
      where request_id = ${requestId}`);
    return last.id;
  });
}

/**
 * Forgets the skus of an import that is finished. Not before: whoever goes on with one that is not must know
 * what it has had. They are found once and deleted where they lie, for the same reason as above.
 */
export async function purgeSkus(db: Database, call: Call, requestId: string): Promise<void> {
  const forget = () =>
    db.transact(call, async (tx) => {
      const [gone] = await tx.query(sql<{ count: number }>`
        with gone as (
          delete from product_import_sku where ctid = any(array(
            select ctid from product_import_sku where request_id = ${requestId} limit ${FORGOTTEN}
          )) returning 1
        )
        select count(*)::int from gone`);
      return gone?.count ?? 0;
    });
  for (let count = FORGOTTEN; count === FORGOTTEN; ) count = await forget();
}
