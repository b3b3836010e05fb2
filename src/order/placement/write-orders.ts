import { OptimisticLockError } from "@mikro-orm/postgresql";
import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { violatesConstraint } from "../../infra/postgres/postgres-errors.ts";
import { arraysOf, type ListColumn, prepareList, unnest } from "../../infra/postgres/statement.ts";
import type { OrderItem, ShippingOption } from "../order-types.ts";
import type { AcceptedOrder } from "./decide.ts";

const ORDER_COLUMNS: readonly ListColumn<AcceptedOrder>[] = [
  { name: "id", type: "uuid", value: ({ order }) => order.id },
  { name: "customer_id", type: "uuid", value: ({ order }) => order.customerId || null },
  { name: "payment_state", type: "text", value: ({ order }) => order.paymentState },
  { name: "currency", type: "text", value: ({ order }) => order.totalPrice.currencyCode },
  { name: "total_minor", type: "bigint", value: ({ order }) => order.totals.total.toString() },
  { name: "discount_minor", type: "bigint", value: ({ order }) => order.totals.discount.toString() },
  { name: "shipping_minor", type: "bigint", value: ({ order }) => order.totals.shipping.toString() },
  { name: "tax_minor", type: "bigint", value: ({ order }) => order.totals.tax.toString() },
  { name: "is_tax_included", type: "boolean", value: ({ order }) => order.totals.isTaxIncluded },
  { name: "promotion_id", type: "uuid", value: ({ order }) => order.promotionId || null },
  { name: "sales_recorded", type: "boolean", value: ({ order }) => order.salesRecorded },
  { name: "email", type: "text", value: ({ order }) => order.email || null },
  { name: "note", type: "text", value: ({ order }) => order.note || null },
  { name: "shipping_address", type: "jsonb", value: ({ order }) => jsonOf(order.shippingAddress) },
  { name: "billing_address", type: "jsonb", value: ({ order }) => jsonOf(order.billingAddress) },
  {
    name: "shipping_option",
    type: "jsonb",
    value: ({ order }) => jsonOf(storedOption(order.shippingOption)),
  },
  { name: "placed_by", type: "text", value: ({ placement }) => placement.actor },
  { name: "owner", type: "text", value: ({ placement }) => placement.owner },
  { name: "request_id", type: "uuid", value: ({ placement }) => placement.requestId },
  { name: "fingerprint", type: "bytea", value: ({ placement }) => placement.fingerprint },
];

/** Arrays of the orders' columns, and of the time to pay, which is not stored as it is. */
const PLACED_COLUMNS: readonly ListColumn<AcceptedOrder>[] = [
  ...ORDER_COLUMNS,
  { name: "reservation", type: "int", value: ({ placement }) => placement.reservationSeconds },
];

/** An item of a new order. */
interface NewItem extends OrderItem {
  orderId: string;
}

const ITEM_COLUMNS: readonly ListColumn<NewItem>[] = [
  { name: "order_id", type: "uuid", value: ({ orderId }) => orderId },
  { name: "position", type: "smallint", value: ({ id }) => id },
  { name: "product_id", type: "uuid", value: ({ productId }) => productId },
  { name: "sku", type: "text", value: ({ sku }) => sku },
  { name: "name", type: "text", value: ({ name }) => name },
  { name: "unit_minor", type: "bigint", value: ({ unitPrice }) => unitPrice.minorUnits.toString() },
  { name: "quantity", type: "bigint", value: ({ quantity }) => quantity.toString() },
  { name: "tax_minor", type: "bigint", value: ({ tax }) => tax.minorUnits.toString() },
];

const namesOf = (columns: readonly { name: string }[]) => sql.join(columns.map(({ name }) => sql.ref(name)));

// The time to pay begins at the later time of the service's and the database's clock, since the earlier one decides when it
// has passed. It is stored from created_at on, so that the first response is rebuilt from it.
const INSERT = prepareList<{ id: string; expires_at: string | null }>(
  1 + PLACED_COLUMNS.length + ITEM_COLUMNS.length,
  ([now, ...arrays]) => sql`
    with item as (
      insert into order_item (${namesOf(ITEM_COLUMNS)})
      select * from ${unnest(ITEM_COLUMNS, arrays.slice(PLACED_COLUMNS.length), "item")}
    )
    insert into orders (
      ${namesOf(ORDER_COLUMNS)}, reservation_seconds, expires_at, version, created_at, updated_at
    )
    select ${namesOf(ORDER_COLUMNS)}, reservation + delay, at + (reservation + delay) * interval '1 second', 1, at, at
    from ${unnest(PLACED_COLUMNS, arrays, "placed")}, (
      select at, greatest(0, floor(extract(epoch from now() - at)))::int as delay
      from (select ${now}::timestamptz as at) as recorded
    ) as recorded
    returning id, expires_at`,
);

/**
 * Writes new orders with their items in one statement.
 * @returns when they expire, by id; undefined for those that do not
 * @throws OptimisticLockError, after which the transaction is repeated, when another one has used a request_id meanwhile
 */
export async function writeOrders(
  tx: Tx,
  accepted: readonly AcceptedOrder[],
  now: Date,
): Promise<Map<string, Date | undefined>> {
  const items = accepted.flatMap(({ order }) =>
    order.items.map((item): NewItem => ({ ...item, orderId: order.id })),
  );
  const statement = INSERT([now, ...arraysOf(PLACED_COLUMNS, accepted), ...arraysOf(ITEM_COLUMNS, items)]);
  const rows = await tx.query(statement).catch((error: unknown) => {
    if (violatesConstraint(error, "orders_request_unique"))
      throw new OptimisticLockError("request_id in use");
    throw error;
  });
  return new Map(rows.map(({ id, expires_at: at }) => [id, at === null ? undefined : new Date(at)]));
}

/** Returns the JSON of an address or of an option. */
function jsonOf(value: object | undefined): string | null {
  return value === undefined ? null : JSON.stringify(value);
}

/** Returns a shipping option as it is stored, with amounts as decimal text. */
function storedOption(option: ShippingOption | undefined): object | undefined {
  return (
    option && { ...option, price: option.price.minorUnits.toString(), tax: option.tax.minorUnits.toString() }
  );
}
