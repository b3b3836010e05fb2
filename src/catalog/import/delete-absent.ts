import { sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { NIL_UUID } from "../../kernel/ids.ts";
import { productTags } from "../product/product-row.ts";
import { lockComplete } from "./progress.ts";

/** Products that are read in one transaction, which takes some tens of milliseconds if all of them are deleted. */
const PAGE_ROWS = 1_000;

/**
 * Deletes the products whose sku has no row in an import. It reads all products in pages by id, so that it
 * holds few locks at a time and can be repeated after an interruption.
 */
export async function deleteAbsent(
  options: { db: Database; clock: Clock },
  call: Call,
  requestId: string,
  rowCount: number,
): Promise<void> {
  for (let afterId: string | undefined = NIL_UUID; afterId !== undefined; ) {
    afterId = await deleteAbsentInPage(options, call, requestId, rowCount, afterId);
  }
}

/**
 * Deletes those in the page after an id. Each sku is looked up by a subquery: a join would be planned by statistics
 * that predate the import, and would compare each product with all rows.
 * @returns the last id of the page; undefined when it is empty
 */
function deleteAbsentInPage(
  { db, clock }: { db: Database; clock: Clock },
  call: Call,
  requestId: string,
  rowCount: number,
  afterId: string,
): Promise<string | undefined> {
  return db.transact(call, async (tx) => {
    const now = clock.now();
    await lockComplete(tx, requestId, rowCount);
    const [last] = await tx.query(sql<{ id: string }>`
      select id from (select id from product where id > ${afterId} order by id limit ${PAGE_ROWS}) as page
      order by id desc limit 1`);
    if (last === undefined) return undefined;
    const deleted = await tx.query(sql<{ id: string; sku: string }>`
      update product set deleted_at = ${now}, updated_at = ${now}, version = version + 1
      where id in (
        select id from product
        where id > ${afterId} and id <= ${last.id} and active
          and created_at < (select created_at from product_import where request_id = ${requestId}) and (
          select sku from product_import_sku as seen where seen.request_id = ${requestId} and seen.sku = product.sku
        ) is null
        order by id for no key update
      )
      returning id, sku`);
    if (deleted.length === 0) return last.id;
    for (const product of deleted) tx.invalidate(...productTags(product), "catalog", "categories");
    await tx.query(sql`
      update product_import set deleted_count = deleted_count + ${deleted.length}
      where request_id = ${requestId}`);
    return last.id;
  });
}
