import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Inventory, StockChange } from "../../inventory/inventory.ts";
import type { Clock } from "../../kernel/clock.ts";
import type { Ids } from "../../kernel/ids.ts";
import { ensureBrands } from "../brand/brand.ts";
import { productTags } from "../product/product.ts";
import {
  insertProducts,
  lockProducts,
  type StoredProduct,
  updateProducts,
  type WantedProduct,
} from "./bulk-products.ts";
import { type RowError, recordRows } from "./progress.ts";
import type { ImportRow, ProductFields, RowFault } from "./row.ts";

/** Rows that are written in one transaction. */
export interface ImportBatch {
  /** How many rows of the import come before them. */
  offset: number;
  items: readonly ImportRow[];
}

/** A row that is good as far as it has been looked at. */
interface Row {
  number: number;
  sku: string;
  goods: ProductFields;
}

type Refuse = (row: Pick<Row, "number" | "sku">, fault: RowFault) => void;

/** Writes a batch in the caller's transaction: products, their stock, and how far the import has come. */
export async function writeBatch(
  tx: Tx,
  { ids, clock, inventory }: { ids: Ids; clock: Clock; inventory: Inventory },
  requestId: string,
  { offset, items }: ImportBatch,
): Promise<void> {
  const now = clock.now();
  const errors: RowError[] = [];
  const refuse: Refuse = ({ number, sku }, fault) => errors.push({ rowNumber: number, sku, ...fault });
  const rows = await firstOfTheirSku(tx, requestId, { offset, items }, refuse);
  const listed = await inCategories(tx, rows, refuse);
  await ensureBrands(
    tx,
    listed.map(({ goods }) => goods.brand),
    now,
  );
  const stored = await lockProducts(
    tx,
    listed.map(({ sku }) => sku),
  );
  const known = new Map(stored.map((product) => [product.sku, product]));
  const fresh = listed.filter(({ sku }) => !known.has(sku));
  await create(
    tx,
    inventory,
    fresh.map(({ goods, sku, categoryId }) => want(ids(), { ...goods, sku, categoryId })),
    now,
  );
  const changed = await change(tx, inventory, listed, known, now, refuse);
  const refused = errors.length;
  const counts = {
    createdCount: fresh.length,
    updatedCount: changed,
    unchangedCount: items.length - refused - fresh.length - changed,
    failedCount: refused,
  };
  // Last, so that batches which are written side by side wait for each other no longer than a commit takes.
  await recordRows(tx, requestId, [offset, offset + items.length], counts, errors);
}

/**
 * The good rows whose sku has not come before in this import. The skus of faulty ones are written down too:
 * mode FULL spares their products. One that breaks its own rules can be no product's.
 */
async function firstOfTheirSku(
  tx: Tx,
  requestId: string,
  { offset, items }: ImportBatch,
  refuse: Refuse,
): Promise<Row[]> {
  const readable = items.filter((item) => !("fault" in item && item.fault.field === "sku"));
  const named = new Set(readable.map(({ sku }) => sku));
  const unseen = await tx.query(sql<{ sku: string }>`
    insert into product_import_sku (request_id, sku)
    select ${requestId}, sku from unnest(${[...named].sort()}::text[]) as named (sku)
    on conflict do nothing returning sku`);
  const fresh = new Set(unseen.map(({ sku }) => sku));
  const rows: Row[] = [];
  for (const [index, item] of items.entries()) {
    const number = offset + index + 1;
    const first = fresh.delete(item.sku);
    if ("fault" in item) refuse({ number, sku: item.sku }, item.fault);
    else if (first) rows.push({ number, ...item });
    else
      refuse({ number, sku: item.sku }, { field: "sku", description: "comes more than once in this import" });
  }
  return rows;
}

/** The rows with the ids of their categories, which then stay until the transaction ends. */
async function inCategories(tx: Tx, rows: readonly Row[], refuse: Refuse) {
  const slugs = [...new Set(rows.map(({ goods }) => goods.categorySlug))];
  const found = await tx.query(sql<{ id: string; slug: string }>`
    select id, slug from category where slug = any(${slugs}::text[]) order by id for key share`);
  const ids = new Map(found.map(({ id, slug }) => [slug, id]));
  return rows.flatMap((row) => {
    const categoryId = ids.get(row.goods.categorySlug);
    if (categoryId !== undefined) return { ...row, categoryId };
    refuse(row, { field: "category_slug", description: "is no category's" });
    return [];
  });
}

function want(
  id: string,
  { stockQuantity, ...goods }: ProductFields & { sku: string; categoryId: string },
  stock = 0n,
): WantedProduct {
  return { id, stockQuantity, ...goods, stock: stockQuantity ?? stock };
}

async function create(
  tx: Tx,
  inventory: Inventory,
  products: readonly WantedProduct[],
  now: Date,
): Promise<void> {
  await insertProducts(tx, products, now);
  const filled = products.filter(({ stock }) => stock > 0n);
  const changes = filled.map(({ id, stock }) => ({ productId: id, delta: stock }));
  await inventory.record(tx, "INITIAL", changes, now);
  // Nobody can have asked for an id before it was made, but for a sku.
  for (const { sku } of products) tx.invalidate(`sku:${sku}`, "catalog", "categories");
}

/** Changes what is there already. @returns how many it has changed */
async function change(
  tx: Tx,
  inventory: Inventory,
  rows: readonly (Row & { categoryId: string })[],
  known: ReadonlyMap<string, StoredProduct>,
  now: Date,
  refuse: Refuse,
): Promise<number> {
  const pairs = rows.flatMap((row) => {
    const old = known.get(row.sku);
    if (old === undefined) return [];
    const { goods, sku, categoryId } = row;
    return { row, old, product: want(old.id, { ...goods, sku, categoryId }, old.stock) };
  });
  const recounted = pairs.filter(({ old, product }) => product.stock !== old.stock);
  const outdated = await inventory.findRecountedAfter(
    tx,
    recounted.map(({ old }) => old.id),
    now,
  );
  const description = "a later count has been recorded";
  for (const { row, old } of recounted) {
    if (outdated.has(old.id)) refuse(row, { field: "stock_quantity", description });
  }
  const good = pairs.filter(({ old }) => !outdated.has(old.id));
  const versions = await updateProducts(
    tx,
    good.map(({ product }) => product),
    now,
  );
  const changes: StockChange[] = [];
  for (const { old, product } of good) {
    if (product.stock !== old.stock) changes.push({ productId: old.id, delta: product.stock - old.stock });
    const version = versions.get(old.id);
    if (version === undefined) continue;
    tx.invalidate(...productTags(old));
    const availability = old.stock > 0n !== product.stock > 0n;
    if (version !== old.version || availability) tx.invalidate("catalog");
    if (old.deleted || old.categoryId !== product.categoryId) tx.invalidate("categories");
  }
  await inventory.record(tx, "RECOUNT", changes, now);
  return versions.size;
}
