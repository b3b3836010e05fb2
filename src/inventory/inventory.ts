import { sql } from "kysely";
import { ProductEntity } from "../catalog/catalog.entity.ts";
import { type Product, productTags, toProduct } from "../catalog/product/product.ts";
import type { Database, Tx } from "../infra/postgres/postgres.ts";
import { runMutation } from "../infra/postgres/run-mutation.ts";
import type { Call } from "../kernel/call.ts";
import { CLOCK_SKEW_MS, type Clock } from "../kernel/clock.ts";
import { AppError, invalidField, notFound, type StateViolation } from "../kernel/errors.ts";
import type { Money } from "../kernel/money.ts";

/** Why stock was changed by hand. */
export type StockReason = "RECOUNT" | "RECEIVED" | "DAMAGED" | "RETURNED" | "CORRECTION";

/** Units of one product. */
export interface StockLine {
  productId: string;
  quantity: bigint;
}

/** What an order keeps of a product it sells, and the units that are there before. */
export interface SoldProduct {
  id: string;
  sku: string;
  name: string;
  price: Money;
  stock: bigint;
}

/** The most units that a product can have. */
const MAX_STOCK = 1_000_000_000n;

/** A change of stock by hand. */
export interface StockAdjustment {
  productId: string;
  delta: bigint;
  expectedQuantity: bigint | undefined;
  reason: StockReason;
  effectiveTime: Date | undefined;
  requestId: string;
}

/**
 * Changes a stock by hand and writes the change into the ledger, both or neither.
 * @throws ABORTED when the stock is not the expected one, FAILED_PRECONDITION when it would leave its range
 */
export async function adjustStock(
  { db, clock }: { db: Database; clock: Clock },
  call: Call,
  { requestId, ...adjustment }: StockAdjustment,
): Promise<Product> {
  const { answer } = await runMutation(
    db,
    call,
    { method: "AdjustStock", requestId },
    adjustment,
    async (tx) => {
      const { productId, delta, reason } = adjustment;
      const now = clock.now();
      const effectiveAt = adjustment.effectiveTime ?? now;
      if (effectiveAt.getTime() > now.getTime() + CLOCK_SKEW_MS) {
        throw invalidField("effective_time", "must not be in the future");
      }
      const [product] = await lock(tx, [productId]);
      if (product === undefined) throw notFound("product", productId);
      assertExpected(adjustment, product.stock);
      if (reason === "RECOUNT") await assertNewest(tx, productId, effectiveAt);
      assertRange(productId, product.stock, delta);
      await tx.query(
        sql`update product set stock_quantity = stock_quantity + ${delta} where id = ${productId}`,
      );
      await tx.query(sql`
      insert into stock_movement (product_id, delta, reason, effective_at, created_at)
      values (${productId}, ${delta}, ${reason}, ${effectiveAt}, ${now})`);
      noteMove(tx, product, delta);
      return toProduct(await tx.em.findOneOrFail(ProductEntity, { id: productId }));
    },
  );
  return answer;
}

/**
 * Locks the products of an order until the caller's transaction ends, and checks that their units are there.
 * They are locked in id order, so that two orders never wait for each other in a circle.
 * @returns the products, by id
 * @throws NOT_FOUND for an unknown product; FAILED_PRECONDITION that names each one that is short or deleted
 */
export async function lockStock(tx: Tx, lines: readonly StockLine[]): Promise<Map<string, SoldProduct>> {
  const rows = await lock(
    tx,
    lines.map((line) => line.productId),
  );
  const products = new Map(rows.map((row) => [row.id, row]));
  const problems: StateViolation[] = [];
  for (const { productId, quantity } of lines) {
    const product = products.get(productId);
    if (product === undefined) throw notFound("product", productId);
    const subject = `products/${productId}`;
    if (product.deleted) {
      problems.push({ type: "DELETED", subject, description: `${product.sku} is no longer sold` });
    } else if (product.stock < quantity) {
      const description = `${product.sku}: ${product.stock} left, ${quantity} asked for`;
      problems.push({ type: "STOCK", subject, description });
    }
  }
  if (problems.length > 0) {
    const sentence = problems.map((problem) => problem.description).join("; ");
    throw new AppError("failed_precondition", `Not enough stock: ${sentence}. Nothing was ordered.`, {
      reason: problems.every((problem) => problem.type === "DELETED") ? "PRODUCT_DELETED" : "OUT_OF_STOCK",
      preconditions: problems,
    });
  }
  return products;
}

/** Locks the products of a cancelled order, in id order. @returns the products, by id */
export async function lockReturns(tx: Tx, lines: readonly StockLine[]): Promise<Map<string, SoldProduct>> {
  const rows = await lock(
    tx,
    lines.map((line) => line.productId),
  );
  return new Map(rows.map((row) => [row.id, row]));
}

/** What an order does to stock: it takes units, and a cancel puts them back. */
export interface StockMove {
  orderId: string;
  reason: "ORDER" | "CANCEL";
  lines: readonly StockLine[];
  /** As they were locked. */
  products: ReadonlyMap<string, SoldProduct>;
  now: Date;
}

/**
 * The statements that move stock and write the move into the ledger, as parts for the caller's `with`: an
 * order is written in one round trip, and holds its locks no longer than that. The products must be locked;
 * a second ledger row for the same order and reason breaks its unique key.
 */
export function stockMove(tx: Tx, { orderId, reason, lines, products, now }: StockMove) {
  const sign = reason === "ORDER" ? -1n : 1n;
  for (const { productId, quantity } of lines) {
    const product = products.get(productId);
    if (product !== undefined) noteMove(tx, product, sign * quantity);
  }
  return {
    stock: sql`
      update product set
        stock_quantity = stock_quantity + ${sign}::bigint * line.quantity,
        purchase_count = purchase_count - ${sign}::bigint * line.quantity
      from ${unnest(lines)} where product.id = line.product_id`,
    ledger: sql`
      insert into stock_movement (product_id, delta, reason, order_id, effective_at, created_at)
      select product_id, ${sign}::bigint * quantity, ${reason}, ${orderId}::uuid, ${now}::timestamptz, ${now}::timestamptz
      from ${unnest(lines)}`,
  };
}

/** Lists may be late with how many units are left, but not with whether there are any. */
function noteMove(tx: Tx, product: SoldProduct, delta: bigint): void {
  tx.invalidate(...productTags(product));
  if (product.stock > 0n !== product.stock + delta > 0n) tx.invalidate("catalog");
}

interface LockedProduct extends SoldProduct {
  deleted: boolean;
}

// FOR NO KEY UPDATE rather than FOR UPDATE: as strict among sellers, but rows elsewhere that refer to the
// product (purchases, order items) need not wait for its foreign key.
async function lock(tx: Tx, ids: readonly string[]): Promise<LockedProduct[]> {
  const rows = await tx.query(sql<{
    id: string;
    sku: string;
    name: string;
    currency: string;
    price_minor: string;
    stock_quantity: string;
    active: boolean;
  }>`
    select id, sku, name, currency, price_minor, stock_quantity, active
    from product where id = any(${ids}::uuid[]) order by id for no key update`);
  return rows.map((row) => ({
    id: row.id,
    sku: row.sku,
    name: row.name,
    price: { currencyCode: row.currency, minorUnits: BigInt(row.price_minor) },
    stock: BigInt(row.stock_quantity),
    deleted: !row.active,
  }));
}

function unnest(lines: readonly StockLine[]) {
  const ids = lines.map((line) => line.productId);
  const quantities = lines.map((line) => line.quantity.toString());
  return sql`unnest(${ids}::uuid[], ${quantities}::bigint[]) as line (product_id, quantity)`;
}

function assertExpected(
  { productId, expectedQuantity }: Pick<StockAdjustment, "productId" | "expectedQuantity">,
  stock: bigint,
) {
  if (expectedQuantity === undefined || expectedQuantity === stock) return;
  throw new AppError(
    "conflict",
    `The stock is ${stock}, not ${expectedQuantity}. Look again and repeat your change.`,
    {
      reason: "STOCK_CHANGED",
      metadata: { current_quantity: stock.toString() },
      resource: { type: "product", name: productId },
    },
  );
}

function assertRange(productId: string, stock: bigint, delta: bigint): void {
  const next = stock + delta;
  if (next >= 0n && next <= MAX_STOCK) return;
  const description = next < 0n ? `${stock} left, ${-delta} to be taken` : `more than ${MAX_STOCK} units`;
  throw new AppError("failed_precondition", `The stock cannot become ${next}: ${description}.`, {
    reason: next < 0n ? "OUT_OF_STOCK" : "STOCK_TOO_LARGE",
    preconditions: [{ type: "STOCK", subject: `products/${productId}`, description }],
  });
}

/** Counts can arrive out of order; one that is older than the newest one written down says nothing new. */
async function assertNewest(tx: Tx, productId: string, effectiveAt: Date): Promise<void> {
  const [newer] = await tx.query(sql<{ one: number }>`
    select 1 as one from stock_movement
    where product_id = ${productId} and reason = 'RECOUNT' and effective_at > ${effectiveAt} limit 1`);
  if (newer === undefined) return;
  const description = "a later count has been written down";
  throw new AppError(
    "failed_precondition",
    `This count came too late: ${description}. Nothing was changed.`,
    {
      reason: "RECOUNT_OUTDATED",
      preconditions: [{ type: "RECOUNT", subject: `products/${productId}`, description }],
    },
  );
}
