import { type RawBuilder, sql } from "kysely";
import { type Keyset, keysetCondition, keysetOrder } from "../../infra/postgres/keyset.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { type Parameter, prepare, prepareDynamic } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { notFound } from "../../kernel/errors.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";
import { type Actor, readActor } from "../change/actor.ts";
import type { ItemQuantity } from "../change/item-units.ts";
import type { OrderAccess } from "../guest/order-access.ts";
import type { OrderItem } from "../order-types.ts";
import type { FulfillmentState } from "../state/order-state.ts";

/** The carrier of a shipment, and where to follow it. */
export interface Tracking {
  /** Name of the carrier; empty if unknown. */
  carrier: string;
  /** Empty for none. */
  trackingNumber: string;
  /** Empty for none. */
  trackingUri: string;
}

/** A shipment of units of an order. */
export interface Fulfillment extends Tracking {
  id: string;
  orderId: string;
  items: ItemQuantity[];
  /** The version. */
  etag: string;
  createTime: Date;
  /** Who has shipped it. */
  shippedBy: Actor;
  /** Undefined before the delivery. */
  deliverTime: Date | undefined;
  /** Who has recorded its delivery, if it is delivered. */
  deliveredBy: Actor;
}

/** A request for one fulfillment. */
export interface FulfillmentKey {
  /** Id of the order. */
  id: string;
  fulfillmentId: string;
}

/** A request for a page of an order's fulfillments. */
export interface FulfillmentListRequest extends PageRequest {
  /** Id of the order. */
  id: string;
}

/** Dependencies of reading a fulfillment. */
export interface FulfillmentReadOptions {
  db: Pick<Database, "read">;
  orderAccess: OrderAccess;
}

/** Dependencies of listing fulfillments. */
export interface FulfillmentListOptions extends FulfillmentReadOptions {
  tokens: PageTokens;
}

interface FulfillmentRow {
  id: string;
  order_id: string;
  carrier: string;
  tracking_number: string;
  tracking_uri: string;
  created_at: string;
  delivered_at: string | null;
  shipped_by: string;
  delivered_by: string;
  version: number;
  items: { id: string; quantity: string }[];
}

/** The row of an order without fulfillments. */
type NoFulfillmentRow = { [Column in keyof FulfillmentRow]: null };

const OLDEST_FIRST: Keyset = {
  columns: [
    { name: "created_at", type: "timestamptz" },
    { name: "id", type: "uuid" },
  ],
  descending: false,
};

/** Selects fulfillments of an order, oldest first. An order without any is one row of nulls. */
function selectFulfillments(
  order: RawBuilder<unknown>,
  fulfillment: RawBuilder<unknown> = sql`true`,
  limit: RawBuilder<unknown> = sql``,
): RawBuilder<FulfillmentRow | NoFulfillmentRow> {
  return sql<FulfillmentRow | NoFulfillmentRow>`
    select one.*, (
      select json_agg(json_build_object('id', position::text, 'quantity', quantity::text) order by position)
      from fulfillment_item where fulfillment_id = one.id
    ) as items
    from orders left join lateral (
      select * from fulfillment where order_id = orders.id and ${fulfillment} ${keysetOrder(OLDEST_FIRST)} ${limit}
    ) as one on true
    where ${order} order by one.created_at, one.id`;
}

/** The condition that selects an order. @param owner the customer to whom it must belong; null for any */
const ofOwner = (id: Parameter | string, owner: Parameter | string | null) =>
  sql`orders.id = ${id} and (${owner}::uuid is null or customer_id = ${owner})`;

const READ = prepare<[id: string], FulfillmentRow | NoFulfillmentRow>((id) =>
  selectFulfillments(sql`orders.id = ${id}`),
);
const FIND = prepare<
  [id: string, fulfillmentId: string, owner: string | null],
  FulfillmentRow | NoFulfillmentRow
>((id, fulfillmentId, owner) =>
  selectFulfillments(ofOwner(id, owner), sql`fulfillment.id = ${fulfillmentId}`),
);

/**
 * Returns a fulfillment of an order.
 * @throws AppError not_found, also for another customer's order
 */
export async function getFulfillment(
  { db, orderAccess }: FulfillmentReadOptions,
  call: Call,
  { id, fulfillmentId }: FulfillmentKey,
): Promise<Fulfillment> {
  const { customerId, isStaff } = orderAccess(call, id);
  const [row] = await db.read(call, FIND(id, fulfillmentId, customerId));
  if (row === undefined) throw notFound("order", id);
  if (!isFulfillment(row)) throw notFound("fulfillment", fulfillmentId);
  return fulfillmentFromRow(row, isStaff);
}

/**
 * Returns a page of the fulfillments of an order, oldest first.
 * @throws AppError not_found, also for another customer's order
 */
export async function listFulfillments(
  { db, tokens, orderAccess }: FulfillmentListOptions,
  call: Call,
  { id, pageSize, pageToken }: FulfillmentListRequest,
): Promise<Page<Fulfillment>> {
  const { customerId: owner, isStaff } = orderAccess(call, id);
  const query = { list: "fulfillments", id };
  const size = resolvePageSize(pageSize);
  const statement = selectFulfillments(
    ofOwner(id, owner),
    keysetCondition(OLDEST_FIRST, tokens.readCursor(pageToken, query)),
    sql`limit ${size + 1}`,
  );
  const rows = await db.read(call, prepareDynamic(statement));
  if (rows.length === 0) throw notFound("order", id);
  const listed = rows.filter(isFulfillment);
  return tokens.createPage(
    listed,
    size,
    query,
    (row) => [row.created_at, row.id],
    (row) => fulfillmentFromRow(row, isStaff),
  );
}

/** Returns the fulfillments of an order as staff see them, oldest first. To be called after the order was locked. */
export async function readFulfillments(tx: Tx, orderId: string): Promise<Fulfillment[]> {
  const rows = await tx.query(READ(orderId));
  return rows.filter(isFulfillment).map((row) => fulfillmentFromRow(row, true));
}

function isFulfillment(row: FulfillmentRow | NoFulfillmentRow): row is FulfillmentRow {
  return row.id !== null;
}

function fulfillmentFromRow(row: FulfillmentRow, isForStaff: boolean): Fulfillment {
  return {
    id: row.id,
    orderId: row.order_id,
    items: row.items.map((item) => ({ itemId: item.id, quantity: BigInt(item.quantity) })),
    carrier: row.carrier,
    trackingNumber: row.tracking_number,
    trackingUri: row.tracking_uri,
    etag: String(row.version),
    createTime: new Date(row.created_at),
    shippedBy: readActor(row.shipped_by, isForStaff),
    deliverTime: row.delivered_at === null ? undefined : new Date(row.delivered_at),
    deliveredBy: readActor(row.delivered_by, isForStaff),
  };
}

/**
 * Returns the state that follows from the quantities of an order's items.
 * @param isDelivered whether all fulfillments are delivered
 */
export function fulfillmentStateOf(items: readonly OrderItem[], isDelivered: boolean): FulfillmentState {
  if (items.every(({ fulfilledQuantity }) => fulfilledQuantity === 0n)) return "UNFULFILLED";
  const isShipped = items.every(
    ({ quantity, cancelledQuantity, fulfilledQuantity }) =>
      cancelledQuantity + fulfilledQuantity === quantity,
  );
  if (!isShipped) return "PARTIALLY_FULFILLED";
  return isDelivered ? "DELIVERED" : "FULFILLED";
}
