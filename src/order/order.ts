import { sql } from "kysely";
import { runMutation } from "../infra/postgres/idempotency/run-mutation.ts";
import { type Keyset, keysetCondition, keysetOrder } from "../infra/postgres/keyset.ts";
import type { Tx } from "../infra/postgres/postgres.ts";
import { allOf, prepare, prepareDynamic } from "../infra/postgres/statement.ts";
import type { Loop } from "../kernel/async/start-loop.ts";
import type { Call } from "../kernel/call.ts";
import { notFound } from "../kernel/errors.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../kernel/page.ts";
import { ownerScope, type Principal, permissionDenied, requestOwner } from "../kernel/principal.ts";
import { cancelOrderItems, type ItemCancellation } from "./change/cancel-items.ts";
import { cancelOrder, type OrderCancellation } from "./change/cancel-order.ts";
import type { ChangeOptions } from "./change/change-options.ts";
import type { PaymentHooks } from "./change/payment-hooks.ts";
import { listOrderEvents, type OrderEvent, type OrderEventListRequest } from "./event-list.ts";
import { createExpirySweep, type ExpiryOptions } from "./expiry/expiry-sweep.ts";
import { type ExpireTimeChange, setOrderExpireTime } from "./expiry/set-expire-time.ts";
import { assertRepeatable, type Delivery, deliverOrder } from "./fulfillment/deliver-order.ts";
import {
  type Fulfillment,
  type FulfillmentKey,
  type FulfillmentListRequest,
  getFulfillment,
  listFulfillments,
} from "./fulfillment/fulfillment.ts";
import { type ItemReturn, returnOrderItems } from "./fulfillment/return-items.ts";
import { type Shipment, type ShippedOrder, shipOrder } from "./fulfillment/ship-order.ts";
import { type FulfillmentUpdate, updateFulfillment } from "./fulfillment/update-fulfillment.ts";
import { createOrderAccess } from "./guest/order-access.ts";
import type { OrderTokens } from "./guest/order-token.ts";
import { type OrderRow, orderFromRow, SELECT_ORDER } from "./order-row.ts";
import type { Order } from "./order-types.ts";
import { type ManualPayment, markOrderPaid } from "./payment/mark-paid.ts";
import { createPlaceOrder, type OrderCreation, type PlacementOptions } from "./placement/place-order.ts";
import type { PlacedOrder } from "./placement/placement.ts";
import { IS_PURCHASED } from "./purchased-items.ts";
import type { PricedBasket } from "./quote/quote.ts";
import { type OrderQuoteRequest, quoteOrder } from "./quote/quote-order.ts";
import type { FulfillmentState, OrderState, PaymentState } from "./state/order-state.ts";
import { type OrderUpdate, type OrderWatchRequest, watchOrder } from "./watch/watch-order.ts";
import { createWatchedOrders, type WatchedOrdersOptions } from "./watch/watched-orders.ts";

export type { PostalAddress } from "./address/postal-address.ts";
export type { Actor, ActorKind } from "./change/actor.ts";
export type { ItemCancellation } from "./change/cancel-items.ts";
export type { OrderCancellation } from "./change/cancel-order.ts";
export type { PaymentMethod } from "./change/event-details.ts";
export type { PaymentHooks } from "./change/payment-hooks.ts";
export type { OrderEvent, OrderEventListRequest } from "./event-list.ts";
export type { ExpireTimeChange } from "./expiry/set-expire-time.ts";
export type { Delivery } from "./fulfillment/deliver-order.ts";
export type {
  Fulfillment,
  FulfillmentKey,
  FulfillmentListRequest,
  Tracking,
} from "./fulfillment/fulfillment.ts";
export type { ItemReturn } from "./fulfillment/return-items.ts";
export type { Shipment, ShippedOrder } from "./fulfillment/ship-order.ts";
export type { FulfillmentUpdate } from "./fulfillment/update-fulfillment.ts";
export type { Order, OrderItem, OrderTotals, ShippingOption } from "./order-types.ts";
export type { ManualPayment } from "./payment/mark-paid.ts";
export type { OrderCreation } from "./placement/place-order.ts";
export type { OrderInput, PlacedOrder } from "./placement/placement.ts";
export type { StockStrategyName } from "./placement/stock-strategy.ts";
export { IS_PURCHASED } from "./purchased-items.ts";
export type { PricedBasket, QuoteProvider } from "./quote/quote.ts";
export { legalSteps } from "./state/legal-steps.ts";
export type { OrderStates } from "./state/order-state.ts";
export { ledgerEvents } from "./state/transitions.ts";
export type { OrderUpdate, OrderWatchRequest } from "./watch/watch-order.ts";

/** A request for a page of orders. */
export interface OrderListRequest extends PageRequest {
  /** Empty for the caller's own orders or, for staff and services, those of all customers. */
  customerId: string;
  /** Undefined for all states. */
  state: OrderState | undefined;
  /** Undefined for all payment states. */
  paymentState: PaymentState | undefined;
  /** Undefined for all fulfillment states. */
  fulfillmentState: FulfillmentState | undefined;
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
   * Returns the prices, taxes and shipping options of an order without placing it. Lines of a product are added up.
   * @throws AppError as `quoteOrder` does; invalid_argument when lines of a product add up to too many units
   */
  quote(call: Call, request: OrderQuoteRequest): Promise<PricedBasket>;
  /**
   * Places an order: the stock, the order, its stock movements and its purchases are committed together or not at all.
   * A repeat with the same request_id returns the first response.
   * @throws AppError not_found for an unknown customer, product or promotion; failed_precondition for a deleted
   *   customer or product, missing stock, several currencies, or a promotion that is not active or has reached its
   *   limit; invalid_argument for a request_id of another request; permission_denied for a customer who orders for
   *   another one; unavailable, deadline_exceeded or cancelled as `BatchWriter.write` does
   */
  create(call: Call, creation: OrderCreation): Promise<CreatedOrder>;
  /**
   * Cancels an order and releases its units.
   * @throws AppError as `cancelOrder` does
   */
  cancel(call: Call, cancellation: OrderCancellation, requestId: string): Promise<Order>;
  /** Records that an order was paid by hand. @throws AppError as `markOrderPaid` does */
  markPaid(call: Call, payment: ManualPayment, requestId: string): Promise<Order>;
  /** Sets the time at which an unpaid order expires. @throws AppError as `setOrderExpireTime` does */
  setExpireTime(call: Call, change: ExpireTimeChange, requestId: string): Promise<Order>;
  /**
   * Expires orders that were not paid in time, and releases their units and limits, until the loop is closed. Several
   * processes may do this concurrently.
   */
  startExpiry(): Loop;
  /** Ships units of an order. @throws AppError as `shipOrder` does */
  ship(call: Call, shipment: Shipment, requestId: string): Promise<ShippedOrder>;
  /** Records that fulfillments of an order were delivered. @throws AppError as `deliverOrder` does */
  deliver(call: Call, delivery: Delivery, requestId: string): Promise<Order>;
  /** Cancels units of an order before their shipment. @throws AppError as `cancelOrderItems` does */
  cancelItems(call: Call, cancellation: ItemCancellation, requestId: string): Promise<Order>;
  /** Records that shipped units of an order were returned. @throws AppError as `returnOrderItems` does */
  returnItems(call: Call, itemReturn: ItemReturn, requestId: string): Promise<Order>;
  /** Corrects the carrier and the tracking of a fulfillment. @throws AppError as `updateFulfillment` does */
  updateFulfillment(call: Call, update: FulfillmentUpdate, options: UpdateOptions): Promise<ShippedOrder>;
  /** Returns a fulfillment of an order. @throws AppError not_found, also for another customer's order */
  getFulfillment(call: Call, key: FulfillmentKey): Promise<Fulfillment>;
  /**
   * Returns a page of an order's fulfillments, oldest first.
   * @throws AppError not_found, also for another customer's order
   */
  listFulfillments(call: Call, request: FulfillmentListRequest): Promise<Page<Fulfillment>>;
  /**
   * Returns a page of an order's history, oldest event first.
   * @throws AppError not_found, also for another customer's order
   */
  listEvents(call: Call, request: OrderEventListRequest): Promise<Page<OrderEvent>>;
  /** Yields the changes of an order, until it is final or the call is aborted. @throws AppError as `watchOrder` does */
  watch(call: Call, request: OrderWatchRequest): AsyncIterable<OrderUpdate>;
  /**
   * Returns whether a customer has bought a product, in an order that is paid or authorized. The orders with it stay
   * locked against cancellation until the transaction ends.
   */
  hasPurchased(tx: Tx, customerId: string, productId: string): Promise<boolean>;
}

/** How an update is made. */
export interface UpdateOptions {
  /** Empty for a request that is not deduplicated. */
  requestId: string;
  /** Whether the changes are rolled back after all checks. */
  validateOnly: boolean;
}

/** Dependencies of the orders. */
export interface OrderOptions extends PlacementOptions, ExpiryOptions, Pick<WatchedOrdersOptions, "tail"> {
  tokens: PageTokens;
  orderTokens: OrderTokens;
  payments: PaymentHooks;
}

/** An order, whether an earlier call has placed it, and its token. */
export interface CreatedOrder extends PlacedOrder {
  /** Gives access to the order of a guest; empty for the order of a customer. */
  orderToken: string;
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
export function createOrders(dependencies: OrderOptions): Orders {
  const { db, tokens, orderTokens, clock } = dependencies;
  const orderAccess = createOrderAccess({ tokens: orderTokens, clock });
  const options = { ...dependencies, orderAccess };
  const placeOrder = createPlaceOrder(options);
  const watchedOrders = createWatchedOrders(options);
  /** Returns a method that makes a change once for each request_id; without one, each time. */
  const changeOnce =
    <Request extends { id: string }, Result>(
      method: string,
      change: (options: ChangeOptions, tx: Tx, call: Call, request: Request) => Promise<Result>,
    ) =>
    async (call: Call, request: Request, requestId: string, validateOnly = false): Promise<Result> => {
      // First, so that only a caller with access gets the response to an earlier request.
      const { requestOwner: owner } = orderAccess(call, request.id);
      const work = (tx: Tx) => change(options, tx, call, request);
      return (await runMutation(db, call, { method, owner, requestId, validateOnly }, request, work)).result;
    };
  const deliver = changeOnce("DeliverOrder", deliverOrder);
  const update = changeOnce("UpdateFulfillment", updateFulfillment);
  return {
    async get(call, id) {
      const [row] = await db.read(call, findById(id, orderAccess(call, id).customerId));
      if (row === undefined) throw notFound("order", id);
      return orderFromRow(row);
    },

    async list(call, { customerId: requested, pageSize, pageToken, ...states }) {
      const customerId = ownerScope(call.principal) ?? requested;
      if (requested !== "" && requested !== customerId) {
        throw permissionDenied("You can only list your own orders.", "NOT_YOURS");
      }
      const { state, paymentState, fulfillmentState } = states;
      const query = { list: "orders", customerId, state, paymentState, fulfillmentState };
      const size = resolvePageSize(pageSize);
      const where = allOf([
        customerId === "" ? undefined : sql`customer_id = ${customerId}`,
        state === undefined ? undefined : sql`state = ${state}`,
        paymentState === undefined ? undefined : sql`payment_state = ${paymentState}`,
        fulfillmentState === undefined ? undefined : sql`fulfillment_state = ${fulfillmentState}`,
        keysetCondition(NEWEST_ORDER_FIRST, tokens.readCursor(pageToken, query)),
      ]);
      const statement = sql<OrderRow>`
        ${SELECT_ORDER} where ${where} ${keysetOrder(NEWEST_ORDER_FIRST)} limit ${size + 1}`;
      const rows = await db.read(call, prepareDynamic(statement));
      return tokens.createPage(rows, size, query, (row) => [row.created_at, row.id], orderFromRow);
    },

    quote: (call, request) => quoteOrder(options, call, request),

    async create(call, creation) {
      const { order } = creation;
      const input = { ...order, customerId: resolveCustomer(call.principal, order.customerId) };
      // The request_ids of guest orders are those of the calling service or staff, or of all anonymous callers together.
      const owner = input.customerId || requestOwner(call.principal);
      const placed = await placeOrder(call, owner, { ...creation, order: input });
      const { id, customerId, createTime } = placed.order;
      const hasToken = customerId === "" && !creation.validateOnly;
      return { ...placed, orderToken: hasToken ? orderTokens.issue(id, createTime) : "" };
    },

    cancel: changeOnce("CancelOrder", cancelOrder),
    markPaid: changeOnce("MarkOrderPaid", markOrderPaid),
    setExpireTime: changeOnce("SetOrderExpireTime", setOrderExpireTime),
    startExpiry: createExpirySweep(options).start,
    ship: changeOnce("ShipOrder", shipOrder),
    async deliver(call, delivery, requestId) {
      assertRepeatable(delivery, requestId);
      return deliver(call, delivery, requestId);
    },
    cancelItems: changeOnce("CancelOrderItems", cancelOrderItems),
    returnItems: changeOnce("ReturnOrderItems", returnOrderItems),
    updateFulfillment: (call, request, { requestId, validateOnly }) =>
      update(call, request, requestId, validateOnly),
    getFulfillment: (call, key) => getFulfillment(options, call, key),
    listFulfillments: (call, request) => listFulfillments(options, call, request),
    listEvents: (call, request) => listOrderEvents(options, call, request),
    watch: (call, request) => watchOrder({ db, orderAccess, watchedOrders }, call, request),

    async hasPurchased(tx, customerId, productId) {
      const orders = await tx.query(sql<{ id: string }>`
        select orders.id from orders join order_item on order_id = orders.id
        where customer_id = ${customerId} and product_id = ${productId} and state not in ('CANCELLED', 'EXPIRED')
        order by orders.id for share of orders`);
      // A second statement, since the items of the first one may be older than its locks.
      const bought = await tx.query(sql`
        select from orders join order_item on order_id = orders.id
        where orders.id = any(${orders.map(({ id }) => id)}::uuid[]) and product_id = ${productId}
          and ${sql.raw(IS_PURCHASED)} limit 1`);
      return bought.length > 0;
    },
  };
}

/** Returns the customer of a new order: by default the caller; staff and services may name another one. */
function resolveCustomer(principal: Principal, requested: string): string {
  // An anonymous caller is a guest, who cannot name a customer.
  if (principal.kind === "anonymous" && requested === "") return "";
  const own = principal.kind === "account" ? principal.customerId : "";
  const scope = ownerScope(principal);
  if (requested === "" || requested === own) return own;
  if (scope === undefined) return requested;
  throw permissionDenied(
    "Only staff can order for another customer. Leave order.customer_id empty.",
    "NOT_YOURS",
  );
}
