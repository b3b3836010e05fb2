import { sql } from "kysely";
import { runMutation } from "../infra/postgres/idempotency/run-mutation.ts";
import { type Keyset, keysetCondition, keysetOrder } from "../infra/postgres/keyset.ts";
import type { Tx } from "../infra/postgres/postgres.ts";
import { allOf, prepare, prepareDynamic } from "../infra/postgres/statement.ts";
import type { Call } from "../kernel/call.ts";
import { notFound } from "../kernel/errors.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../kernel/page.ts";
import { ownerScope, type Principal, permissionDenied, requestOwner } from "../kernel/principal.ts";
import { type CancellationOptions, cancelOrder } from "./cancel-order.ts";
import { type Order, type OrderRow, orderFromRow, SELECT_ORDER } from "./order-row.ts";
import type { OrderState } from "./order-state.ts";
import { createPlaceOrder, type OrderCreation, type PlacementOptions } from "./placement/place-order.ts";
import type { PlacedOrder } from "./placement/placement.ts";

export type { Order, OrderItem } from "./order-row.ts";
export type { OrderCreation } from "./placement/place-order.ts";
export type { OrderInput, PlacedOrder } from "./placement/placement.ts";
export type { StockStrategyName } from "./placement/stock-strategy.ts";

/** A request to cancel an order. */
export interface OrderCancellation {
  id: string;
  /** Empty to cancel any version. */
  etag: string;
  requestId: string;
}

/** A request for a page of orders. */
export interface OrderListRequest extends PageRequest {
  /** Empty for the caller's own orders or, for staff and services, those of all customers. */
  customerId: string;
  /** Undefined for all states. */
  state: OrderState | undefined;
}

/** The orders of customers and guests. */
export interface Orders {
  /**
   * Returns an order.
   * @throws AppError not_found, also for another customer's order
   */
  get(call: Call, id: string): Promise<Order>;
  /**
   * Returns a page of orders, newest first.
   * @throws AppError permission_denied for another customer's orders
   */
  list(call: Call, request: OrderListRequest): Promise<Page<Order>>;
  /**
   * Places an order: the stock, the order, its stock movements and its purchases are committed together or not at all.
   * A repeat with the same request_id returns the first response.
   * @throws AppError not_found for an unknown customer, product or promotion; failed_precondition for a deleted
   *   customer or product, missing stock, several currencies, or a promotion that is not active or has reached its
   *   limit; invalid_argument for a request_id of another request; permission_denied for a customer who orders for
   *   another one; unavailable, deadline_exceeded or cancelled as `BatchWriter.write` does
   */
  create(call: Call, creation: OrderCreation): Promise<PlacedOrder>;
  /**
   * Cancels an order and returns its units to stock.
   * @throws AppError as `cancelOrder` does
   */
  cancel(call: Call, cancellation: OrderCancellation): Promise<Order>;
  /**
   * Returns whether a customer has an order with a product that is not cancelled. Such orders stay locked against
   * cancellation until the transaction ends.
   */
  hasPurchased(tx: Tx, customerId: string, productId: string): Promise<boolean>;
}

/** Dependencies of the orders. */
export interface OrderOptions extends PlacementOptions, CancellationOptions {
  tokens: PageTokens;
}

const NEWEST_ORDER_FIRST: Keyset = {
  columns: [
    { name: "created_at", type: "timestamptz" },
    { name: "id", type: "uuid" },
  ],
  descending: true,
};
const findById = prepare<[id: string, owner: string | null], OrderRow>(
  (id, owner) => sql`
    ${SELECT_ORDER} where id = ${id} and (${owner}::uuid is null or customer_id = ${owner})`,
);

/** Creates the orders. */
export function createOrders(options: OrderOptions): Orders {
  const { db, tokens } = options;
  const placeOrder = createPlaceOrder(options);
  return {
    async get(call, id) {
      const [row] = await db.read(call, findById(id, ownerScope(call.principal) ?? null));
      if (row === undefined) throw notFound("order", id);
      return orderFromRow(row);
    },

    async list(call, { customerId: requested, state, pageSize, pageToken }) {
      const customerId = ownerScope(call.principal) ?? requested;
      if (requested !== "" && requested !== customerId) {
        throw permissionDenied("You can only list your own orders.", "NOT_YOURS");
      }
      const query = { list: "orders", customerId, state };
      const size = resolvePageSize(pageSize);
      const where = allOf([
        customerId === "" ? undefined : sql`customer_id = ${customerId}`,
        state === undefined ? undefined : sql`state = ${state}`,
        keysetCondition(NEWEST_ORDER_FIRST, tokens.readCursor(pageToken, query)),
      ]);
      const statement = sql<OrderRow>`
        ${SELECT_ORDER} where ${where} ${keysetOrder(NEWEST_ORDER_FIRST)} limit ${size + 1}`;
      const rows = await db.read(call, prepareDynamic(statement));
      return tokens.createPage(rows, size, query, (row) => [row.created_at, row.id], orderFromRow);
    },

    async create(call, creation) {
      const { order } = creation;
      const input = { ...order, customerId: resolveCustomer(call.principal, order.customerId) };
      // Without a customer, the request_ids of guests are scoped to the calling service.
      const owner = input.customerId || requestOwner(call.principal);
      return placeOrder(call, owner, { ...creation, order: input });
    },

    async cancel(call, { id, etag, requestId }) {
      const mutation = { method: "CancelOrder", requestId };
      const { result } = await runMutation(db, call, mutation, { id, etag }, (tx) =>
        cancelOrder(options, tx, call, id, etag),
      );
      return result;
    },

    async hasPurchased(tx, customerId, productId) {
      const orders = await tx.query(sql`
        select from orders join order_item on order_id = orders.id
        where customer_id = ${customerId} and product_id = ${productId} and state <> 'CANCELLED'
        order by orders.id for share of orders`);
      return orders.length > 0;
    },
  };
}

/** Returns the customer of a new order: by default the caller; staff and services may name another one. */
function resolveCustomer(principal: Principal, requested: string): string {
  const own = principal.kind === "account" ? principal.customerId : "";
  const scope = ownerScope(principal);
  if (requested === "" || requested === own) return own;
  if (scope === undefined) return requested;
  throw permissionDenied(
    "Only staff can order for another customer. Leave order.customer_id empty.",
    "NOT_YOURS",
  );
}
