import { sql } from "kysely";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { NIL_UUID } from "../../kernel/ids.ts";
import { productTags } from "../product/product-row.ts";
import { type DeletePlan, tooManyDeletesError } from "./import-errors.ts";
import { lockComplete, readProgressIn } from "./progress.ts";

/** Products that one statement counts, and that one transaction deletes: some tens of milliseconds at most. */
const COUNTED_ROWS = 10_000;
const DELETED_ROWS = 1_000;
/** The default of `maxDeletes`, in percent of the products before the import, rounded up. */
const DEFAULT_PERCENT = 5;

/** An import whose rows are all written. */
interface CompleteImport {
  requestId: string;
  rowCount: number;
  /** Maximum number of products that it deletes; undefined for the default. */
  maxDeletes: number | undefined;
}

/**
 * Deletes the products whose sku has no row in an import, if they are not too many. It reads all products in pages by
 * id, so that it holds few locks at a time and can be repeated after an interruption.
 * @throws AppError failed_precondition when it would delete more products than the import may
 */
export async function deleteAbsent(
  options: { db: Database; clock: Clock },
  call: Call,
  complete: CompleteImport,
): Promise<void> {
  const plan = await options.db.transact(call, (tx) => planDeletion(tx, complete));
  if (plan === undefined) return;
  for (let afterId: string | undefined = NIL_UUID; afterId !== undefined; ) {
    afterId = await deleteAbsentInPage(options, call, complete, plan, afterId);
  }
}

/**
 * Counts the products that an import deletes. Returns undefined when none is left to delete.
 * @throws AppError failed_precondition when they are more than it may delete
 */
async function planDeletion(
  tx: Tx,
  { requestId, rowCount, maxDeletes }: CompleteImport,
): Promise<DeletePlan | undefined> {
  const deletedCount = await lockComplete(tx, requestId, rowCount);
  let [productCount, deleteCount] = [deletedCount, deletedCount];
  for (let afterId: string | null = NIL_UUID; afterId !== null; ) {
    const page: CountedPage | undefined = (await tx.query(countPage(requestId, afterId)))[0];
    productCount += page?.products ?? 0;
    deleteCount += page?.absent ?? 0;
    afterId = page?.lastId ?? null;
  }
  if (deleteCount === deletedCount) return undefined;
  const defaultLimit = Math.ceil((productCount * DEFAULT_PERCENT) / 100);
  const plan = { productCount, deleteCount, maxDeletes: maxDeletes ?? defaultLimit };
  await assertWithinLimit(tx, requestId, plan);
  return plan;
}

async function assertWithinLimit(tx: Tx, requestId: string, plan: DeletePlan): Promise<void> {
  if (plan.deleteCount <= plan.maxDeletes) return;
  throw tooManyDeletesError(requestId, await readProgressIn(tx, requestId), plan);
}

/** Condition on a product that existed before an import and is not deleted. */
const existedBefore = (requestId: string) => sql<boolean>`
  (active and created_at < (select created_at from product_import where request_id = ${requestId}))`;

/**
 * Condition on a product whose sku has no row in an import. Each sku is looked up by a subquery: a join would be
 * planned by statistics that predate the import, and would compare each product with all rows.
 */
const isAbsent = (requestId: string) => sql<boolean>`(
  select sku from product_import_sku as seen where seen.request_id = ${requestId} and seen.sku = product.sku
) is null`;

/** Numbers of the products in a page, and its last id; null when it is empty. */
interface CountedPage {
  lastId: string | null;
  products: number;
  absent: number;
}

const countPage = (requestId: string, afterId: string) => sql<CountedPage>`
  with page as materialized (
    select id, ${existedBefore(requestId)} as existed, ${existedBefore(requestId)} and ${isAbsent(requestId)} as absent
    from product where id > ${afterId} order by id limit ${COUNTED_ROWS}
  )
  select (select id from page order by id desc limit 1) as "lastId",
    count(*) filter (where existed)::int as products, count(*) filter (where absent)::int as absent
  from page`;

/**
 * Deletes those in the page after an id. Products that have become absent since they were counted are deleted up to
 * the limit only.
 * @returns the last id of the page; undefined when it is empty
 */
function deleteAbsentInPage(
  { db, clock }: { db: Database; clock: Clock },
  call: Call,
  { requestId, rowCount }: CompleteImport,
  plan: DeletePlan,
  afterId: string,
): Promise<string | undefined> {
  return db.transact(call, async (tx) => {
    const now = clock.now();
    const deletedCount = await lockComplete(tx, requestId, rowCount);
    const [last] = await tx.query(sql<{ id: string }>`
      select id from (select id from product where id > ${afterId} order by id limit ${DELETED_ROWS}) as page
      order by id desc limit 1`);
    if (last === undefined) return undefined;
    const deleted = await tx.query(sql<{ id: string; sku: string }>`
      update product set deleted_at = ${now}, updated_at = ${now}, version = version + 1
      where id in (
        select id from product
        where id > ${afterId} and id <= ${last.id} and ${existedBefore(requestId)} and ${isAbsent(requestId)}
        order by id for no key update
      )
      returning id, sku`);
    if (deleted.length === 0) return last.id;
    await assertWithinLimit(tx, requestId, { ...plan, deleteCount: deletedCount + deleted.length });
    for (const product of deleted) tx.invalidate(...productTags(product), "catalog", "categories");
    await tx.query(sql`
      update product_import set deleted_count = deleted_count + ${deleted.length}
      where request_id = ${requestId}`);
    return last.id;
  });
}
