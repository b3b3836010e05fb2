import { OptimisticLockError } from "@mikro-orm/postgresql";
import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { violatesConstraint } from "../../infra/postgres/postgres-errors.ts";
import { arraysOf, type ListColumn, prepareList, unnest } from "../../infra/postgres/statement.ts";
import type { OrderItem } from "../order-types.ts";
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
  { name: "shipping_option", type: "jsonb", value: ({ order }) => jsonOf(order.shippingOption) },
  { name: "expires_at", type: "timestamptz", value: ({ order }) => order.expireTime ?? null },
  { name: "reservation_seconds", type: "int", value: ({ placement }) => placement.reservationSeconds },
  { name: "placed_by", type: "text", value: ({ placement }) => placement.actor },
  { name: "owner", type: "text", value: ({ placement }) => placement.owner },
  { name: "request_id", type: "uuid", value: ({ placement }) => placement.requestId },
  { name: "fingerprint", type: "bytea", value: ({ placement }) => placement.fingerprint },
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

const INSERT = prepareList<object>(
  1 + ORDER_COLUMNS.length + ITEM_COLUMNS.length,
  ([now, ...arrays]) => sql`
    with item as (
      insert into order_item (${namesOf(ITEM_COLUMNS)})
      select * from ${unnest(ITEM_COLUMNS, arrays.slice(ORDER_COLUMNS.length), "item")}
    )
    insert into orders (${namesOf(ORDER_COLUMNS)}, version, created_at, updated_at)
    select placed.*, 1, at, at
    from ${unnest(ORDER_COLUMNS, arrays, "placed")}, (select ${now}::timestamptz as at) as recorded`,
);

/**
 * Writes new orders with their items in one statement.
 * @throws OptimisticLockError, after which the transaction is repeated, when another one has used a request_id meanwhile
 */
export async function writeOrders(tx: Tx, accepted: readonly AcceptedOrder[], now: Date): Promise<void> {
  const items = accepted.flatMap(({ order }) =>
    order.items.map((item): NewItem => ({ ...item, orderId: order.id })),
  );
  const statement = INSERT([now, ...arraysOf(ORDER_COLUMNS, accepted), ...arraysOf(ITEM_COLUMNS, items)]);
  await tx.query(statement).catch((error: unknown) => {
    if (violatesConstraint(error, "orders_request_unique"))
      throw new OptimisticLockError("request_id in use");
    throw error;
  });
}

/** Returns the JSON of an address or a shipping option, with amounts as decimal text. */
function jsonOf(value: object | undefined): string | null {
  if (value === undefined) return null;
  return JSON.stringify(value, (_key, part: unknown) => (isMoney(part) ? part.minorUnits.toString() : part));
}

function isMoney(value: unknown): value is { minorUnits: bigint } {
  return typeof value === "object" && value !== null && "minorUnits" in value;
}
