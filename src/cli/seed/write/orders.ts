import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { availableUnits } from "../../../inventory/inventory.ts";
import { lockStock } from "../../../inventory/stock-level.ts";
import type { SeedCustomer, SeedOrder } from "../generate/customers.ts";
import { generateLife } from "../generate/order-life.ts";
import { findPromotionAt } from "../generate/promotions.ts";
import { seedId } from "../generate/seed-id.ts";
import { insertOrders } from "./insert-orders.ts";
import { createHistory, movedUnits } from "./order-history.ts";
import type { PlacedItem, PlacedOrder } from "./placed-order.ts";

/** A locked product. */
interface Product {
  id: string;
  sku: string;
  name: string;
  priceMinor: bigint;
  stock: bigint;
}

/** Number of shipment numbers that are reserved for each order. */
const SHIPMENTS_PER_ORDER = 10;

/**
 * Writes the orders of new customers with their items, events, shipments and stock movements, and updates stock and units
 * sold. Lines are left out whose product is missing, deleted, short or not priced in euros, and so are orders without
 * lines.
 * @param originMs time of the first run, in milliseconds since 1970
 */
export async function placeOrders(
  tx: Tx,
  customers: readonly SeedCustomer[],
  originMs: number,
): Promise<PlacedOrder[]> {
  const lines = customers.flatMap(({ orders }) => orders.flatMap((order) => order.lines));
  const products = await lockProducts(tx, new Set(lines.map((line) => line.productNumber)));
  const placed = customers.flatMap(({ id, orders }) =>
    orders.flatMap((order) => placeOrder(order, id, products, originMs) ?? []),
  );
  if (placed.length > 0) await insertOrders(tx, placed);
  return placed;
}

/** Locks the stock of the products with these numbers in id order, as orders do, and returns those that can be sold. */
async function lockProducts(tx: Tx, numbers: ReadonlySet<number>): Promise<Map<string, Product>> {
  const ids = [...numbers].map((number) => seedId("product", number));
  const levels = await lockStock(tx, ids);
  const rows = await tx.query(sql<{
    id: string;
    sku: string;
    name: string;
    price_minor: string;
  }>`
    select id, sku, name, price_minor from product
    where id = any(${ids}::uuid[]) and active and currency = 'EUR'`);
  return new Map(
    rows.flatMap(({ id, sku, name, price_minor }) => {
      const level = levels.get(id);
      return level === undefined
        ? []
        : [[id, { id, sku, name, priceMinor: BigInt(price_minor), stock: availableUnits(level) }]];
    }),
  );
}

/**
 * Takes the units from `products` that the order does not give back.
 * @returns undefined for an order without lines
 */
function placeOrder(
  order: SeedOrder,
  customerId: string,
  products: ReadonlyMap<string, Product>,
  originMs: number,
): PlacedOrder | undefined {
  const lines = order.lines.flatMap(({ productNumber, quantity }) => {
    const product = products.get(seedId("product", productNumber));
    return product === undefined || product.stock < quantity ? [] : [{ product, quantity }];
  });
  if (lines.length === 0) return undefined;
  const createdMs = originMs - order.ageMs;
  const totalMinor = lines.reduce((sum, line) => sum + line.product.priceMinor * BigInt(line.quantity), 0n);
  const life = generateLife(
    order,
    lines.reduce((sum, { quantity }) => sum + quantity, 0),
  );
  const history = createHistory({
    items: lines.map(({ product, quantity }) => ({ productId: product.id, quantity })),
    totalMinor,
    reference: `DEMO-${order.number}`,
    createdMs,
    life,
    paymentId: seedId("payment", order.number),
    fulfillmentId: (part) => seedId("fulfillment", order.number * SHIPMENTS_PER_ORDER + part),
  });
  const items = lines.map(({ product, quantity }, index): PlacedItem => {
    const position = index + 1;
    const cancelled = movedUnits(history, position, "CANCEL", "EXPIRE");
    const fulfilled = movedUnits(history, position, "SHIP");
    const returned = movedUnits(history, position, "ORDER_RETURN");
    product.stock -= BigInt(quantity - cancelled - returned);
    const itemMinor = product.priceMinor * BigInt(quantity);
    return { position, product, quantity, cancelled, fulfilled, returned, totalMinor: itemMinor };
  });
  return {
    order,
    id: seedId("order", order.number),
    customerId,
    promotionId: (order.isPromoted && findPromotionAt(order.ageMs)) || null,
    createdAt: new Date(createdMs).toISOString(),
    items,
    totalMinor,
    history,
  };
}
