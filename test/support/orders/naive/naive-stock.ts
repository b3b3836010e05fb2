import type { AdjustStock, ImportProducts, Outcome, Recount, StockWrite } from "../model/operation.ts";
import type { NaiveContext } from "./apply-naive-change.ts";
import type { NaiveChange } from "./naive-statements.ts";
import { Rejection } from "./rejection.ts";

/** Makes a change of the stock or the prices of products. */
export function writeStock(context: NaiveContext, operation: StockWrite): Promise<Outcome> {
  if (operation.method === "AdjustStock") return adjust(context, operation);
  if (operation.method === "Recount") return recount(context, operation);
  return importProducts(context, operation);
}

/** Locks the stock of products until the transaction ends. */
export async function lockProducts(
  { statements, flaw }: NaiveContext,
  products: readonly number[],
): Promise<void> {
  if (flaw === "stock is read, changed and overwritten without a lock") return;
  await statements.lockProducts(products);
}

/** Changes the stock of a product. @throws Rejection when too few units are left */
export async function changeStock(
  { statements, flaw }: NaiveContext,
  index: number,
  change: Omit<NaiveChange, "product">,
): Promise<void> {
  const product = await statements.findProduct(index);
  const available = product.onHand - product.reserved;
  if (available + change.onHandDelta - change.reservedDelta < 0)
    throw new Rejection("FailedPrecondition", "OUT_OF_STOCK");
  const isOverwriting = flaw === "stock is read, changed and overwritten without a lock";
  await statements.changeStock({ ...change, product }, isOverwriting);
}

async function adjust(context: NaiveContext, { product, delta, expected }: AdjustStock): Promise<Outcome> {
  await lockProducts(context, [product]);
  const { onHand, reserved } = await context.statements.findProduct(product);
  if (expected !== undefined && expected !== onHand - reserved)
    throw new Rejection("Aborted", "STOCK_CHANGED");
  await changeOnHand(context, product, delta, "CORRECTION");
  return { code: "OK", stock: onHand - reserved + delta, onHand: onHand + delta };
}

async function recount(context: NaiveContext, { product, onHand }: Recount): Promise<Outcome> {
  await lockProducts(context, [product]);
  const before = await context.statements.findProduct(product);
  await changeOnHand(context, product, onHand - before.onHand, "RECOUNT");
  return { code: "OK", stock: onHand - before.reserved, onHand };
}

async function importProducts(context: NaiveContext, { lines }: ImportProducts): Promise<Outcome> {
  const { statements } = context;
  await lockProducts(
    context,
    lines.map(({ product }) => product),
  );
  let updated = 0;
  for (const { product, stock, price } of lines) {
    const before = await statements.findProduct(product);
    const delta = stock === undefined ? 0 : stock - before.onHand + before.reserved;
    await changeOnHand(context, product, delta, "RECOUNT");
    await statements.query("update product set price_minor = $2 where id = $1", [before.id, price]);
    if (delta !== 0 || price !== before.price) updated += 1;
  }
  return { code: "OK", updated, unchanged: lines.length - updated };
}

async function changeOnHand(
  context: NaiveContext,
  product: number,
  delta: number,
  reason: "CORRECTION" | "RECOUNT",
): Promise<void> {
  if (delta === 0) return;
  const change = { onHandDelta: delta, reservedDelta: 0, reason, order: undefined, sold: 0 };
  await changeStock(context, product, change);
}
