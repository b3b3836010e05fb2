import type { Tx } from "../../../infra/postgres/postgres.ts";
import {
  availableUnits,
  crossesZero,
  type Inventory,
  type StockAdjustment,
  type StockTransition,
} from "../../../inventory/inventory.ts";
import type { Clock } from "../../../kernel/clock.ts";
import { AppError } from "../../../kernel/errors.ts";
import type { Ids } from "../../../kernel/ids.ts";
import { ensureBrands } from "../../brand/brand.ts";
import { productTags } from "../../product/product-row.ts";
import { updateAvailability } from "../../stock/availability.ts";
import { DUPLICATE_SKU } from "../import-errors.ts";
import { type RowError, recordRows } from "../progress.ts";
import type { CategorizedRow, ImportRow, Reject, ValidRow } from "../row.ts";
import { recordSkus } from "../seen-skus.ts";
import type { ImportBatch } from "./batch-rows.ts";
import {
  findProducts,
  type ImportedProduct,
  insertProducts,
  type LockedProduct,
  lockProducts,
  type StoredProduct,
  updateProducts,
} from "./bulk-products.ts";
import { findCategories } from "./find-categories.ts";

/** The caller's transaction, and the dependencies and values of the batch. */
interface BatchContext {
  tx: Tx;
  ids: Ids;
  inventory: Inventory;
  requestId: string;
  clock: Clock;
}

/** Writes the products of a batch, their stock and the progress of the import in the caller's transaction. */
export async function writeBatch(context: BatchContext, batch: ImportBatch): Promise<void> {
  const { tx, ids, inventory, requestId, clock } = context;
  const { offset, rows: all } = batch;
  const errors: RowError[] = [];
  const reject: Reject = ({ number, sku }, { field, description }) =>
    errors.push({ rowNumber: number, sku, field, description });
  const rows = await findCategories(tx, await selectNewRows(tx, requestId, batch, reject), reject);
  const brands = rows.map(({ fields }) => fields.brand);
  await ensureBrands(tx, brands, clock.now());
  const skus = rows.map(({ sku }) => sku);
  const stored = await findProducts(tx, inventory, skus);
  // After the lock, so that counts of the batch are later than the recounts that it waited for.
  const now = clock.now();
  const newRows = rows.filter(({ sku }) => !stored.has(sku));
  const newProducts = newRows.map((row) => toImportedProduct(row, ids(), 0n));
  await createProducts(context, newProducts, now);
  const updatedCount = await changeProducts(context, rows, stored, now, reject);
  const [createdCount, failedCount] = [newProducts.length, errors.length];
  const unchangedCount = all.length - failedCount - createdCount - updatedCount;
  const unidentifiedCount = all.filter((row) => !hasValidSku(row)).length;
  const counts = { createdCount, updatedCount, unchangedCount, failedCount, unidentifiedCount };
  // Last, so that concurrent batches wait for this row no longer than a commit takes.
  await recordRows(tx, requestId, [offset, offset + all.length], counts, errors);
}

/** Returns whether the sku of a row is valid. Otherwise the product that the row describes is unknown. */
function hasValidSku(row: ImportRow): boolean {
  return !("violation" in row && row.violation.field === "sku");
}

/**
 * Returns the valid rows whose sku occurs for the first time in the import, and rejects the others. The skus of
 * rejected rows are recorded too, so that mode FULL does not delete their products.
 */
async function selectNewRows(
  tx: Tx,
  requestId: string,
  { offset, rows }: ImportBatch,
  reject: Reject,
): Promise<ValidRow[]> {
  const skus = new Set(rows.filter(hasValidSku).map(({ sku }) => sku));
  const unseen = await recordSkus(tx, requestId, skus);
  const valid: ValidRow[] = [];
  for (const [index, row] of rows.entries()) {
    const number = offset + index + 1;
    const { sku } = row;
    const isFirst = unseen.delete(sku);
    if ("violation" in row) reject({ number, sku }, row.violation);
    else if (isFirst) valid.push({ number, sku, fields: row.fields });
    else reject({ number, sku }, { field: "sku", description: DUPLICATE_SKU });
  }
  return valid;
}

/**
 * Returns the product that a row describes.
 * @param stock units on hand if the row has no stock
 */
function toImportedProduct(
  { sku, categoryId, fields }: CategorizedRow,
  id: string,
  stock: bigint,
): ImportedProduct {
  return { ...fields, id, sku, categoryId, stock: fields.stockQuantity ?? stock };
}

async function createProducts(
  { tx, inventory }: BatchContext,
  products: readonly ImportedProduct[],
  now: Date,
): Promise<void> {
  await insertProducts(tx, products, now);
  const lines = products.map(({ id, stock }) => ({ productId: id, quantity: stock }));
  await inventory.create(tx, lines, now);
  // Responses for an unknown sku may be cached, but none for an id that did not exist.
  for (const { sku } of products) tx.invalidate(`sku:${sku}`, "catalog", "categories");
}

/**
 * Updates the stored products that differ from their rows.
 * @returns the number of updated products
 */
async function changeProducts(
  { tx, inventory }: BatchContext,
  rows: readonly CategorizedRow[],
  stored: ReadonlyMap<string, StoredProduct>,
  now: Date,
  reject: Reject,
): Promise<number> {
  const pairs = rows.flatMap((row) => {
    const before = stored.get(row.sku);
    if (before === undefined) return [];
    return [{ row, before, after: toImportedProduct(row, before.id, availableUnits(before.level)) }];
  });
  const levels = new Map(pairs.map(({ before }) => [before.id, before.level]));
  const recounted = pairs.filter(({ before, after }) => after.stock !== availableUnits(before.level));
  const recounts = recounted.map(({ before, after }) => toRecount(before, after.stock));
  const outcomes = await inventory.adjustLocked(tx, levels, recounts, now);
  const transitions = new Map<string, StockTransition>();
  const rejected = new Set<string>();
  for (const [index, { row, before }] of recounted.entries()) {
    const outcome = outcomes[index];
    if (outcome instanceof AppError) {
      rejected.add(before.id);
      reject(row, { field: "stock_quantity", description: descriptionOf(outcome) });
    } else if (outcome !== undefined) transitions.set(before.id, outcome);
  }
  const accepted = pairs.flatMap(({ after }) => (rejected.has(after.id) ? [] : [after]));
  const crossed = [...transitions.values()].filter(crossesZero);
  // All that are written below, together: two passes would lock them out of order.
  const locked = await lockProducts(
    tx,
    accepted,
    crossed.map(({ productId }) => productId),
  );
  const updatedIds = await updateProducts(
    tx,
    accepted.filter(({ id }) => locked.has(id)),
    now,
  );
  const changed = accepted.filter(({ id }) => transitions.has(id) || updatedIds.has(id));
  for (const product of changed) invalidateChange(tx, product, locked.get(product.id));
  // The others have been written with their availability.
  await updateAvailability(
    tx,
    crossed.filter(({ productId }) => !updatedIds.has(productId)),
  );
  return changed.length;
}

/** Returns the recount after which a number of units of a product can be ordered. */
function toRecount({ id, level }: StoredProduct, stock: bigint): StockAdjustment {
  return {
    productId: id,
    delta: 0n,
    countedOnHand: stock + level.reserved,
    expectedQuantity: undefined,
    reason: "RECOUNT",
    effectiveTime: undefined,
  };
}

/** Describes the error of a recount without the rest of its message. */
function descriptionOf({ message, details }: AppError): string {
  return details.preconditions?.[0]?.description ?? message;
}

/**
 * Invalidates the cached responses that show a changed product.
 * @param before the product before the change; undefined if only its stock has changed
 */
function invalidateChange(tx: Tx, product: ImportedProduct, before: LockedProduct | undefined): void {
  tx.invalidate(...productTags(product), "catalog");
  if (before === undefined) return;
  if (before.isDeleted || before.categoryId !== product.categoryId) tx.invalidate("categories");
}
