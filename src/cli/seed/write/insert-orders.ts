import { sql } from "kysely";
import { addSales, updatePopularities } from "../../../catalog/sales/add-sales.ts";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { arraysOf, type ListColumn, unnest } from "../../../infra/postgres/statement.ts";
import { RESERVATION_SECONDS } from "../generate/order-life.ts";
import { seedId } from "../generate/seed-id.ts";
import type {
  HistoryEvent,
  HistoryFulfillment,
  HistoryMovement,
  HistoryPayment,
  Units,
} from "./order-history.ts";
import type { PlacedItem, PlacedOrder } from "./placed-order.ts";

/** A row of a table of an order. */
type Of<Row> = Row & { orderId: string };

const lastEvent = ({ history }: PlacedOrder) => history.events.at(-1);
const isPaid = (order: PlacedOrder) => lastEvent(order)?.isPaid ?? false;

const ORDERS: readonly ListColumn<PlacedOrder>[] = [
  { name: "id", type: "uuid", value: ({ id }) => id },
  { name: "customer_id", type: "uuid", value: ({ customerId }) => customerId },
  { name: "payment_state", type: "text", value: (order) => (isPaid(order) ? "PAID" : "UNPAID") },
  {
    name: "fulfillment_state",
    type: "text",
    value: (order) => lastEvent(order)?.fulfillmentState ?? "UNFULFILLED",
  },
  { name: "closing", type: "text", value: (order) => lastEvent(order)?.closing ?? "NONE" },
  { name: "total_minor", type: "bigint", value: ({ totalMinor }) => totalMinor.toString() },
  { name: "is_paid", type: "boolean", value: isPaid },
  { name: "promotion_id", type: "uuid", value: ({ promotionId }) => promotionId },
  { name: "version", type: "int", value: (order) => lastEvent(order)?.sequence ?? 1 },
  { name: "created_at", type: "timestamptz", value: ({ createdAt }) => createdAt },
  { name: "updated_at", type: "timestamptz", value: (order) => lastEvent(order)?.at ?? order.createdAt },
  { name: "is_expired", type: "boolean", value: (order) => lastEvent(order)?.closing === "EXPIRED" },
];
const ITEMS: readonly ListColumn<Of<PlacedItem>>[] = [
  { name: "order_id", type: "uuid", value: ({ orderId }) => orderId },
  { name: "position", type: "smallint", value: ({ position }) => position },
  { name: "product_id", type: "uuid", value: ({ product }) => product.id },
  { name: "sku", type: "text", value: ({ product }) => product.sku },
  { name: "name", type: "text", value: ({ product }) => product.name },
  { name: "unit_minor", type: "bigint", value: ({ product }) => product.priceMinor.toString() },
  { name: "quantity", type: "bigint", value: ({ quantity }) => quantity },
  { name: "cancelled_quantity", type: "bigint", value: ({ cancelled }) => cancelled },
  { name: "fulfilled_quantity", type: "bigint", value: ({ fulfilled }) => fulfilled },
  { name: "returned_quantity", type: "bigint", value: ({ returned }) => returned },
];
const EVENTS: readonly ListColumn<Of<HistoryEvent>>[] = [
  { name: "order_id", type: "uuid", value: ({ orderId }) => orderId },
  { name: "sequence", type: "int", value: ({ sequence }) => sequence },
  { name: "type", type: "text", value: ({ type }) => type },
  { name: "actor", type: "text", value: ({ actor }) => actor },
  { name: "reason", type: "text", value: ({ reason }) => reason },
  { name: "payment_state", type: "text", value: (event) => (event.isPaid ? "PAID" : "UNPAID") },
  { name: "fulfillment_state", type: "text", value: ({ fulfillmentState }) => fulfillmentState },
  { name: "closing", type: "text", value: ({ closing }) => closing },
  { name: "details", type: "jsonb", value: ({ details }) => JSON.stringify(details) },
  { name: "created_at", type: "timestamptz", value: ({ at }) => at },
];
const PAYMENTS: readonly ListColumn<Of<HistoryPayment> & { entryId: string }>[] = [
  { name: "id", type: "uuid", value: ({ id }) => id },
  { name: "entry_id", type: "uuid", value: ({ entryId }) => entryId },
  { name: "order_id", type: "uuid", value: ({ orderId }) => orderId },
  { name: "minor", type: "bigint", value: ({ minorUnits }) => minorUnits.toString() },
  { name: "reference", type: "text", value: ({ reference }) => reference },
  { name: "at", type: "timestamptz", value: ({ at }) => at },
];
const FULFILLMENTS: readonly ListColumn<Of<HistoryFulfillment>>[] = [
  { name: "id", type: "uuid", value: ({ id }) => id },
  { name: "order_id", type: "uuid", value: ({ orderId }) => orderId },
  { name: "carrier", type: "text", value: ({ carrier }) => carrier },
  { name: "tracking_number", type: "text", value: ({ trackingNumber }) => trackingNumber },
  { name: "tracking_uri", type: "text", value: ({ trackingUri }) => trackingUri },
  { name: "created_at", type: "timestamptz", value: ({ createdAt }) => createdAt },
  { name: "delivered_at", type: "timestamptz", value: ({ deliveredAt }) => deliveredAt ?? null },
];
const FULFILLMENT_ITEMS: readonly ListColumn<Units & { fulfillmentId: string }>[] = [
  { name: "fulfillment_id", type: "uuid", value: ({ fulfillmentId }) => fulfillmentId },
  { name: "position", type: "smallint", value: ({ position }) => position },
  { name: "quantity", type: "bigint", value: ({ quantity }) => quantity },
];
const MOVEMENTS: readonly ListColumn<Of<HistoryMovement>>[] = [
  { name: "order_id", type: "uuid", value: ({ orderId }) => orderId },
  { name: "product_id", type: "uuid", value: ({ productId }) => productId },
  { name: "units", type: "bigint", value: ({ quantity }) => quantity },
  { name: "reason", type: "text", value: ({ reason }) => reason },
  { name: "sequence", type: "int", value: ({ sequence }) => sequence },
  { name: "at", type: "timestamptz", value: ({ at }) => at },
];

/** Inserts orders with their items and histories, and moves the stock of their products, which is locked. */
export async function insertOrders(tx: Tx, orders: readonly PlacedOrder[]): Promise<void> {
  await tx.query(sql`
    insert into orders (
      id, request_id, owner, customer_id, payment_state, fulfillment_state, closing, currency, total_minor, paid_minor,
      promotion_id, sales_recorded, version, created_at, updated_at, placed_by, expires_at, reservation_seconds
    )
    select id, id, customer_id::text, customer_id, payment_state, fulfillment_state, closing, 'EUR', total_minor,
      case when is_paid then total_minor else 0 end, promotion_id, is_paid and promotion_id is not null, version,
      created_at, updated_at, 'CUSTOMER',
      case when is_expired then created_at + ${RESERVATION_SECONDS} * interval '1 s' end,
      case when is_expired then ${RESERVATION_SECONDS}::int end
    from ${rowsOf(ORDERS, orders)}`);
  const ofOrders = <Row>(rows: (order: PlacedOrder) => readonly Row[]): Of<Row>[] =>
    orders.flatMap((order) => rows(order).map((row) => ({ ...row, orderId: order.id })));
  await insertRows(
    tx,
    "order_item",
    ITEMS,
    ofOrders(({ items }) => items),
  );
  await insertPayments(tx, orders);
  await insertRows(
    tx,
    "order_event",
    EVENTS,
    ofOrders(({ history }) => history.events),
  );
  await insertFulfillments(
    tx,
    ofOrders(({ history }) => history.fulfillments),
  );
  await moveStock(
    tx,
    ofOrders(({ history }) => history.movements),
  );
  await recordSales(
    tx,
    orders.flatMap(({ items }) => items),
  );
}

/** Returns the table of rows. */
const rowsOf = <Row>(columns: readonly ListColumn<Row>[], rows: readonly Row[]) =>
  unnest(columns, arraysOf(columns, rows), "row");

async function insertRows<Row>(
  tx: Tx,
  table: string,
  columns: readonly ListColumn<Row>[],
  rows: readonly Row[],
): Promise<void> {
  const names = sql.join(columns.map(({ name }) => sql.ref(name)));
  await tx.query(sql`insert into ${sql.table(table)} (${names}) select * from ${rowsOf(columns, rows)}`);
}

/** Writes the payments by hand, with their entries of the ledger. */
async function insertPayments(tx: Tx, orders: readonly PlacedOrder[]): Promise<void> {
  const payments = orders.flatMap(({ id: orderId, order, history }) =>
    history.payments.map((payment) => ({ ...payment, orderId, entryId: seedId("entry", order.number) })),
  );
  await tx.query(sql`
    with row as materialized (select * from ${rowsOf(PAYMENTS, payments)}),
    paid as (
      insert into payment (
        id, order_id, gateway, amount_minor, currency, capture, step, state, is_open, captured_minor, manual_reference,
        request_id, created_at, updated_at
      )
      select id, order_id, 'manual', minor, 'EUR', 'AT_ORDER', 'PENDING', 'CAPTURED', false, minor, reference, id, at, at
      from row
    )
    insert into ledger_entry (
      id, order_id, payment_id, gateway, type, reference, amount_minor, currency, source, note, created_at
    )
    select entry_id, order_id, id, 'manual', 'CAPTURED', id::text, minor, 'EUR', 'STAFF', reference, at from row`);
}

async function insertFulfillments(tx: Tx, fulfillments: readonly Of<HistoryFulfillment>[]): Promise<void> {
  await tx.query(sql`
    insert into fulfillment (
      id, order_id, carrier, tracking_number, tracking_uri, created_at, delivered_at, shipped_by, delivered_by, version
    )
    select id, order_id, carrier, tracking_number, tracking_uri, created_at, delivered_at, 'SYSTEM',
      case when delivered_at is null then '' else 'SYSTEM' end, case when delivered_at is null then 1 else 2 end
    from ${rowsOf(FULFILLMENTS, fulfillments)}`);
  const items = fulfillments.flatMap(({ id, units }) => units.map((one) => ({ ...one, fulfillmentId: id })));
  await insertRows(tx, "fulfillment_item", FULFILLMENT_ITEMS, items);
}

/** Writes the movements, and changes the stock by their sums in the same statement. */
async function moveStock(tx: Tx, movements: readonly Of<HistoryMovement>[]): Promise<void> {
  const moved = await tx.query(sql<{ product_id: string }>`
    with moved as (
      insert into stock_movement (
        product_id, on_hand_delta, reserved_delta, reason, order_id, order_sequence, effective_at, created_at
      )
      select product_id,
        case reason when 'SHIP' then -units when 'ORDER_RETURN' then units else 0 end,
        case reason when 'ORDER' then units when 'ORDER_RETURN' then 0 else -units end,
        reason, order_id, sequence, at, at
      from ${rowsOf(MOVEMENTS, movements)}
      returning product_id, on_hand_delta, reserved_delta
    ), change as (
      select product_id, sum(on_hand_delta)::bigint as on_hand, sum(reserved_delta)::bigint as reserved
      from moved group by product_id having sum(on_hand_delta) <> 0 or sum(reserved_delta) <> 0
    )
    update inventory set on_hand = inventory.on_hand + change.on_hand, reserved = inventory.reserved + change.reserved,
      version = version + 1
    from change where inventory.product_id = change.product_id
    returning inventory.product_id`);
  await tx.query(sql`
    update product set in_stock = false from inventory
    where product_id = product.id and in_stock and on_hand = reserved
      and product.id = any(${moved.map((row) => row.product_id)}::uuid[])`);
}

/** Counts the units that were neither cancelled nor returned. */
async function recordSales(tx: Tx, items: readonly PlacedItem[]): Promise<void> {
  const sales = items
    .map(({ product, quantity, cancelled, returned }) => ({
      productId: product.id,
      units: BigInt(quantity - cancelled - returned),
    }))
    .filter(({ units }) => units > 0n);
  await addSales(tx, sales);
  await updatePopularities(tx, sales.length);
}
