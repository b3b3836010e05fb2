import { sql } from "kysely";
import { addSales, updatePopularities } from "../../../catalog/sales/add-sales.ts";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { availableUnits } from "../../../inventory/inventory.ts";
import { lockStock } from "../../../inventory/stock-level.ts";
import { HOUR_MS } from "../../../kernel/durations.ts";
import type { SeedCustomer, SeedOrder } from "../generate/customers.ts";
import { findPromotionAt } from "../generate/promotions.ts";
import { seedId } from "../generate/seed-id.ts";

/** A locked product. */
interface Product {
  id: string;
  sku: string;
  name: string;
  priceMinor: bigint;
  stock: bigint;
}

/** An order with the lines that the stock allows, and their prices. */
export interface PlacedOrder {
  order: SeedOrder;
  id: string;
  customerId: string;
  promotionId: string | null;
  createdAt: string;
  /** Undefined for an order that is not cancelled. */
  cancelledAt: string | undefined;
  items: { product: Product; quantity: number; totalMinor: bigint }[];
}

/** Time from an order to its cancellation. */
const CANCEL_AFTER_MS = HOUR_MS;

/**
 * Writes the orders of new customers with their items and stock movements, and updates stock and units sold. Lines
 * are left out whose product is missing, deleted, short or not priced in euros, and so are orders without lines.
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
    orders
      .map((order) => placeOrder(order, id, products, originMs))
      .filter((order) => order.items.length > 0),
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

/** Takes the units from `products`, unless the order is cancelled later. */
function placeOrder(
  order: SeedOrder,
  customerId: string,
  products: ReadonlyMap<string, Product>,
  originMs: number,
): PlacedOrder {
  const items = order.lines.flatMap(({ productNumber, quantity }) => {
    const product = products.get(seedId("product", productNumber));
    if (product === undefined || product.stock < quantity) return [];
    if (!order.isCancelled) product.stock -= BigInt(quantity);
    return [{ product, quantity, totalMinor: product.priceMinor * BigInt(quantity) }];
  });
  const createdMs = originMs - order.ageMs;
  return {
    order,
    id: seedId("order", order.number),
    customerId,
    promotionId: (order.isPromoted && findPromotionAt(order.ageMs)) || null,
    createdAt: new Date(createdMs).toISOString(),
    cancelledAt: order.isCancelled ? new Date(createdMs + CANCEL_AFTER_MS).toISOString() : undefined,
    items,
  };
}

async function insertOrders(tx: Tx, orders: readonly PlacedOrder[]): Promise<void> {
  const column = <T>(value: (order: PlacedOrder) => T) => orders.map(value);
  const ids = column(({ id }) => id);
  const totals = column(({ items }) => items.reduce((sum, item) => sum + item.totalMinor, 0n).toString());
  await tx.query(sql`
    insert into orders (
      id, request_id, owner, customer_id, closing, currency, total_minor, promotion_id, sales_recorded, version,
      created_at, updated_at
    )
    select id, id, customer_id::text, customer_id, case when cancelled_at is null then 'NONE' else 'CANCELLED' end, 'EUR',
      total_minor, promotion_id, promotion_id is not null, case when cancelled_at is null then 1 else 2 end, created_at,
      coalesce(cancelled_at, created_at)
    from unnest(
      ${ids}::uuid[], ${column(({ customerId }) => customerId)}::uuid[], ${totals}::bigint[],
      ${column(({ promotionId }) => promotionId)}::uuid[], ${column(({ createdAt }) => createdAt)}::timestamptz[],
      ${column(({ cancelledAt }) => cancelledAt)}::timestamptz[]
    ) as item (id, customer_id, total_minor, promotion_id, created_at, cancelled_at)`);
  await insertItems(tx, orders);
  await insertCancellations(tx, ids);
  // Ledger and stock are derived from the inserted rows, so that they are consistent with them.
  await tx.query(sql`
    insert into stock_movement (
      product_id, reserved_delta, reason, order_id, order_sequence, effective_at, created_at
    )
    select product_id, quantity, 'ORDER', order_id, 1, created_at, created_at
    from order_item join orders on orders.id = order_id where order_id = any(${ids}::uuid[])
    union all
    select product_id, -quantity, 'CANCEL', order_id, 2, updated_at, updated_at
    from order_item join orders on orders.id = order_id
    where order_id = any(${ids}::uuid[]) and state = 'CANCELLED'`);
  const sales = await tx.query(sql<{ product_id: string; units: string }>`
    update inventory set reserved = reserved + sold.units, version = version + 1
    from (
      select product_id, sum(quantity) as units from order_item join orders on orders.id = order_id
      where order_id = any(${ids}::uuid[]) and state <> 'CANCELLED' group by product_id
    ) as sold where inventory.product_id = sold.product_id
    returning inventory.product_id, units`);
  await tx.query(sql`
    update product set in_stock = false from inventory
    where product_id = product.id and in_stock and on_hand = reserved
      and product.id = any(${sales.map((sale) => sale.product_id)}::uuid[])`);
  await addSales(
    tx,
    sales.map((sale) => ({ productId: sale.product_id, units: BigInt(sale.units) })),
  );
  await updatePopularities(tx, sales.length);
}

async function insertCancellations(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx.query(sql`
    update order_item set cancelled_quantity = quantity
    from orders where orders.id = order_id and closing = 'CANCELLED' and orders.id = any(${ids}::uuid[])`);
  await tx.query(sql`
    insert into order_event (
      order_id, sequence, type, actor, payment_state, fulfillment_state, closing, details, created_at
    )
    select id, version, 'CANCELLED', 'CUSTOMER', payment_state, fulfillment_state, closing, '{}', updated_at
    from orders where closing = 'CANCELLED' and id = any(${ids}::uuid[])`);
}

async function insertItems(tx: Tx, orders: readonly PlacedOrder[]): Promise<void> {
  const items = orders.flatMap(({ id, items }) =>
    items.map(({ product, quantity }, index) => ({ orderId: id, position: index + 1, product, quantity })),
  );
  const column = <T>(value: (item: (typeof items)[number]) => T) => items.map(value);
  await tx.query(sql`
    insert into order_item (order_id, position, product_id, sku, name, unit_minor, quantity)
    select * from unnest(
      ${column(({ orderId }) => orderId)}::uuid[], ${column(({ position }) => position)}::smallint[],
      ${column(({ product }) => product.id)}::uuid[], ${column(({ product }) => product.sku)}::text[],
      ${column(({ product }) => product.name)}::text[],
      ${column(({ product }) => product.priceMinor.toString())}::bigint[],
      ${column(({ quantity }) => quantity)}::bigint[]
    )`);
}
