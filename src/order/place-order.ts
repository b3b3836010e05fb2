import { sql } from "kysely";
import type { Catalog, OrderedProduct } from "../catalog/catalog.ts";
import type { Customers } from "../customer/customer.ts";
import { requestIdReused } from "../infra/postgres/idempotency/run-idempotent.ts";
import type { Tx } from "../infra/postgres/postgres.ts";
import { violatesConstraint } from "../infra/postgres/postgres-errors.ts";
import type { Inventory, MovementStatements, StockLine } from "../inventory/inventory.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { AppError, notFound } from "../kernel/errors.ts";
import type { Ids } from "../kernel/ids.ts";
import { assertAmount } from "../kernel/money.ts";
import type { Tracker } from "../tracker/tracker.ts";
import type { Order, OrderItem } from "./order-row.ts";
import { allowedTransitions } from "./order-state.ts";

/** The fields of an order that callers write. */
export interface OrderInput {
  /** Empty for a guest. */
  customerId: string;
  /** Empty for none. */
  promotionId: string;
  /** Each product once. */
  items: readonly StockLine[];
}

/** Dependencies of placing an order. */
export interface PlacementOptions {
  ids: Ids;
  clock: Clock;
  catalog: Catalog;
  inventory: Inventory;
  customers: Customers;
  tracker: Tracker;
}

/**
 * Places an order: locks and takes the stock, and writes the order, its stock movements and its purchases.
 * @throws AppError not_found for an unknown customer, product or promotion; failed_precondition for a deleted
 *   customer, missing stock, several currencies, or a promotion that is not active or has reached its limit
 */
export async function placeOrder(
  { ids, clock, catalog, inventory, customers, tracker }: PlacementOptions,
  tx: Tx,
  call: Call,
  input: OrderInput,
  requestId: string,
): Promise<Order> {
  const { customerId, promotionId, items: lines } = input;
  if (customerId !== "") await customers.lock(tx, customerId);
  const products = await catalog.lockForSale(tx, lines);
  const order = priceOrder(input, products, ids(), clock.now());
  const now = order.createTime;
  const movement = inventory.orderMovement({ orderId: order.id, reason: "ORDER", lines, now });
  await insertOrder(tx, order, requestId, movement);
  catalog.recordSales(
    tx,
    lines.map(({ productId, quantity }) => ({ productId, units: quantity })),
  );
  if (promotionId !== "") {
    const items = order.items.map((item) => ({ productId: item.productId, amount: item.totalPrice }));
    await tracker.recordOrder(tx, call, { orderId: order.id, promotionId, customerId, items, now });
  }
  return order;
}

/** Returns the order at the current prices of its products. */
function priceOrder(
  { customerId, promotionId, items: lines }: OrderInput,
  products: ReadonlyMap<string, OrderedProduct>,
  id: string,
  now: Date,
): Order {
  const items = lines.map(({ productId, quantity }): OrderItem => {
    const product = products.get(productId);
    if (product === undefined) throw notFound("product", productId);
    const { sku, name, price: unitPrice } = product;
    const totalPrice = { ...unitPrice, minorUnits: unitPrice.minorUnits * quantity };
    return { productId, sku, name, unitPrice, quantity, totalPrice };
  });
  const minorUnits = items.reduce((sum, item) => sum + item.totalPrice.minorUnits, 0n);
  const totalPrice = { currencyCode: singleCurrency(items), minorUnits };
  assertAmount(minorUnits, "order.items");
  return {
    id,
    customerId,
    promotionId,
    items,
    state: "PENDING",
    totalPrice,
    allowedTransitions: allowedTransitions("PENDING"),
    etag: "1",
    createTime: now,
    updateTime: now,
  };
}

function singleCurrency(items: readonly OrderItem[]): string {
  const currencies = [...new Set(items.map((item) => item.unitPrice.currencyCode))].sort();
  const [currency = ""] = currencies;
  if (currencies.length <= 1) return currency;
  const description = `its products are priced in ${currencies.join(" and ")}; place one order for each currency`;
  throw new AppError("failed_precondition", `An order has one currency: ${description}.`, {
    reason: "SEVERAL_CURRENCIES",
    preconditions: [{ type: "CURRENCY", subject: "order", description }],
  });
}

/** Writes the order, its items and its stock movements in one statement. */
async function insertOrder(
  tx: Tx,
  order: Order,
  requestId: string,
  { stock, ledger }: MovementStatements,
): Promise<void> {
  const { id, customerId, promotionId, state, totalPrice, createTime, items } = order;
  const column = <T>(value: (item: OrderItem) => T) => items.map(value);
  const statement = sql`
    with stock as (${stock}), ledger as (${ledger}), item as (
      insert into order_item (order_id, position, product_id, sku, name, unit_minor, quantity)
      select ${id}::uuid, ordinality, product_id, sku, name, unit_minor, quantity
      from unnest(
        ${column((item) => item.productId)}::uuid[], ${column((item) => item.sku)}::text[],
        ${column((item) => item.name)}::text[], ${column((item) => item.unitPrice.minorUnits.toString())}::bigint[],
        ${column((item) => item.quantity.toString())}::bigint[]
      ) with ordinality as item (product_id, sku, name, unit_minor, quantity, ordinality)
    )
    insert into orders (
      id, customer_id, state, currency, total_minor, promotion_id, request_id, version, created_at, updated_at
    ) values (
      ${id}, ${customerId || null}, ${state}, ${totalPrice.currencyCode}, ${totalPrice.minorUnits},
      ${promotionId || null}, ${requestId}, 1, ${createTime}, ${createTime}
    )`;
  await tx.query(statement).catch((error: unknown) => {
    if (violatesConstraint(error, "orders_request_unique")) throw requestIdReused();
    if (violatesConstraint(error, "orders_promotion_id_fk")) throw notFound("promotion", promotionId);
    throw error;
  });
}
