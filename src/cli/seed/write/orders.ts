import type { ClientBase } from "pg";
import type { SeedCustomer, SeedOrder } from "../generate/customers.ts";
import { findPromotionAt } from "../generate/promotions.ts";
import { seedId } from "../generate/seed-id.ts";

/** A product as it is at this moment, locked. */
interface Product {
  id: string;
  sku: string;
  name: string;
  priceMinor: bigint;
  stock: bigint;
}

/** An order that the stock allows, priced. */
export interface PlacedOrder {
  order: SeedOrder;
  id: string;
  customerId: string;
  promotionId: string | null;
  createdAt: string;
  /** When it was cancelled, if it was. */
  cancelledAt: string | undefined;
  items: { product: Product; quantity: number; totalMinor: bigint }[];
}

/** How long after it was placed an order is cancelled, milliseconds. */
const CANCEL_AFTER_MS = 3_600_000;

/**
 * Places the orders of new customers in the caller's transaction, with all that belongs to them: stock,
 * ledger, units sold. A line whose product is gone, deleted, short or not in euros is left out, and so is an
 * order without a line.
 * @param originMs the time of the first run, milliseconds since 1970
 */
export async function placeOrders(
  client: ClientBase,
  customers: readonly SeedCustomer[],
  originMs: number,
): Promise<PlacedOrder[]> {
  const lines = customers.flatMap(({ orders }) => orders.flatMap((order) => order.lines));
  const products = await lockProducts(client, new Set(lines.map((line) => line.productNumber)));
  const placed = customers.flatMap(({ id, orders }) =>
    orders.map((order) => place(order, id, products, originMs)).filter((order) => order.items.length > 0),
  );
  if (placed.length > 0) await write(client, placed);
  return placed;
}

/** The products with these numbers that can be sold, locked in id order as every order does. */
async function lockProducts(client: ClientBase, numbers: ReadonlySet<number>): Promise<Map<string, Product>> {
  const { rows } = await client.query<
    Record<"id" | "sku" | "name" | "price_minor" | "stock_quantity", string>
  >(
    `select id, sku, name, price_minor, stock_quantity from product
     where id = any($1::uuid[]) and active and currency = 'EUR' order by id for no key update`,
    [[...numbers].map((number) => seedId("product", number))],
  );
  return new Map(
    rows.map(({ id, sku, name, price_minor, stock_quantity }) => [
      id,
      { id, sku, name, priceMinor: BigInt(price_minor), stock: BigInt(stock_quantity) },
    ]),
  );
}

/** Takes the units from the stock of `products`, unless the order is cancelled later. */
function place(
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
  const placedMs = originMs - order.ageMs;
  return {
    ...{ order, customerId, items, id: seedId("order", order.number) },
    promotionId: (order.isPromoted && findPromotionAt(order.ageMs)) || null,
    createdAt: new Date(placedMs).toISOString(),
    cancelledAt: order.isCancelled ? new Date(placedMs + CANCEL_AFTER_MS).toISOString() : undefined,
  };
}

async function write(client: ClientBase, orders: readonly PlacedOrder[]): Promise<void> {
  const column = <T>(value: (order: PlacedOrder) => T) => orders.map(value);
  const ids = column((order) => order.id);
  await client.query(
    `insert into orders (
       id, request_id, customer_id, state, currency, total_minor, promotion_id, version, created_at, updated_at
     )
     select id, id, customer_id, case when cancelled_at is null then 'PENDING' else 'CANCELLED' end, 'EUR',
       total_minor, promotion_id, case when cancelled_at is null then 1 else 2 end, created_at,
       coalesce(cancelled_at, created_at)
     from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::timestamptz[], $6::timestamptz[])
       as item (id, customer_id, total_minor, promotion_id, created_at, cancelled_at)`,
    [
      ids,
      column((order) => order.customerId),
      column((order) => order.items.reduce((sum, item) => sum + item.totalMinor, 0n).toString()),
      column((order) => order.promotionId),
      column((order) => order.createdAt),
      column((order) => order.cancelledAt),
    ],
  );
  await writeItems(client, orders);
  // Ledger and stock follow from the rows just written, so they cannot say anything else.
  await client.query(
    `insert into stock_movement (product_id, delta, reason, order_id, effective_at, created_at)
     select product_id, -quantity, 'ORDER', order_id, created_at, created_at
     from order_item join orders on orders.id = order_id where order_id = any($1::uuid[])
     union all
     select product_id, quantity, 'CANCEL', order_id, updated_at, updated_at
     from order_item join orders on orders.id = order_id where order_id = any($1::uuid[]) and state = 'CANCELLED'`,
    [ids],
  );
  await client.query(
    `update product set stock_quantity = stock_quantity - sold.units, purchase_count = purchase_count + sold.units
     from (
       select product_id, sum(quantity) as units from order_item join orders on orders.id = order_id
       where order_id = any($1::uuid[]) and state <> 'CANCELLED' group by product_id
     ) as sold where product.id = sold.product_id`,
    [ids],
  );
}

async function writeItems(client: ClientBase, orders: readonly PlacedOrder[]): Promise<void> {
  const items = orders.flatMap(({ id, items }) => items.map((item, index) => ({ ...item, id, index })));
  const column = <T>(value: (item: (typeof items)[number]) => T) => items.map(value);
  await client.query(
    `insert into order_item (order_id, position, product_id, sku, name, unit_minor, quantity)
     select * from unnest(
       $1::uuid[], $2::smallint[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[]
     )`,
    [
      column((item) => item.id),
      column((item) => item.index + 1),
      column((item) => item.product.id),
      column((item) => item.product.sku),
      column((item) => item.product.name),
      column((item) => item.product.priceMinor.toString()),
      column((item) => item.quantity),
    ],
  );
}
