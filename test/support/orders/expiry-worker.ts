import { randomUUID } from "node:crypto";
import { onTestFinished } from "vitest";
import { OrderEventType, PaymentMethod } from "../../../gen/cartwright/order/v1/order_event_pb.ts";
import type { Order } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { createCatalog } from "../../../src/catalog/catalog.ts";
import { createCustomers } from "../../../src/customer/customer.ts";
import { entities } from "../../../src/entities.ts";
import { withInvalidationOutbox } from "../../../src/infra/outbox/invalidation/invalidation-outbox.ts";
import { withOutbox } from "../../../src/infra/outbox/outbox.ts";
import { openPostgres } from "../../../src/infra/postgres/postgres.ts";
import { createInventory } from "../../../src/inventory/inventory.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import { type Clock, systemClock } from "../../../src/kernel/clock.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import type { Log } from "../../../src/kernel/log.ts";
import { createPageTokens } from "../../../src/kernel/page.ts";
import { createExpirySweep, type SweepResult } from "../../../src/order/expiry/expiry-sweep.ts";
import type { PaymentCancellation } from "../../../src/order/expiry/payment-cancellation.ts";
import { findDelay } from "../../../src/order/expiry/take-expiries.ts";
import { createOrders, type Orders, type PaymentHooks } from "../../../src/order/order.ts";
import { createReviews } from "../../../src/review/review.ts";
import { createTracker } from "../../../src/tracker/tracker.ts";
import { silentLog } from "../log.ts";
import type { Clients } from "../shop.ts";
import type { TestDatabase } from "../stores/database.ts";
import { placementOptions } from "./placement-options.ts";

/** A worker that expires orders, one round at a time, with connections of its own. */
export interface ExpiryWorker {
  /** @param signal aborts the round, as at the end of the process */
  run(signal?: AbortSignal): Promise<SweepResult>;
  /** Returns the time until an expiry is due, in milliseconds; undefined if there is none. */
  findDelay(): Promise<number | undefined>;
  /** Runs rounds until one takes no order. @returns the sums of all rounds */
  runAll(): Promise<SweepResult>;
  /** Orders with the clock of the worker. */
  readonly orders: Orders;
  /** Cache tags that its transactions have invalidated. */
  readonly invalidatedTags: readonly string[];
}

export interface ExpiryWorkerOptions {
  clock?: Clock;
  cancelPayment?: PaymentCancellation;
  /** Defaults to orders that are paid by hand only. */
  payments?: PaymentHooks;
  log?: Log;
}

/** Opens a worker on a database, which is closed when the test is finished. */
export async function openExpiryWorker(
  databaseUrl: string,
  {
    clock = systemClock,
    cancelPayment = async () => "cancelled",
    payments = placementOptions.payments,
    log = silentLog,
  }: ExpiryWorkerOptions = {},
): Promise<ExpiryWorker> {
  const pool = { poolMax: 4, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  const plain = await openPostgres({ url: databaseUrl, entities, log: silentLog, ...pool });
  onTestFinished(() => plain.close());
  const invalidatedTags: string[] = [];
  const db = withInvalidationOutbox(withOutbox(plain, { notify: () => {} }), {
    invalidate: async (tags) => void invalidatedTags.push(...tags),
    invalidateThrottled: () => {},
    ensureInvalidated: async () => {},
  });
  const shared = { db, clock, ids: createIds(), tokens: createPageTokens(Buffer.alloc(32), clock) };
  const inventory = createInventory(shared);
  const catalog = createCatalog({ ...shared, inventory });
  const customers = createCustomers(shared);
  const tracker = createTracker(shared);
  const ofFeatures = { catalog, inventory, customers, tracker };
  const orders = createOrders({ ...placementOptions, ...shared, ...ofFeatures, payments });
  const reviews = createReviews({ ...shared, catalog, orders, readCustomerName: customers.readName });
  const sweep = createExpirySweep({
    ...shared,
    catalog,
    inventory,
    tracker,
    cancelPayment,
    log,
    onItemsCancelled: (tx, changed) =>
      reviews.deleteUnverified(
        tx,
        changed.map(({ customerId }) => customerId),
      ),
  });
  const run = (signal?: AbortSignal) => sweep.run(internalCall(signal));
  return {
    run,
    findDelay: () => findDelay(db, internalCall(), clock),
    orders,
    invalidatedTags,
    async runAll() {
      const sum = { taken: 0, postponed: 0 };
      for (let result = await run(); result.taken > 0; result = await run()) {
        sum.taken += result.taken;
        sum.postponed += result.postponed;
      }
      return sum;
    },
  };
}

/** Sets the expire time of orders, relative to the clock of the database; of all orders that have one by default. */
export async function setExpiry(database: TestDatabase, interval: string, ...ids: string[]): Promise<void> {
  await database.query(
    `update orders set expires_at = now() + $1::interval
     where expires_at is not null and (cardinality($2::uuid[]) = 0 or id = any($2::uuid[]))`,
    [interval, ids],
  );
}

/** Places an order of one product. */
export async function placeOrder(
  { orders }: Clients,
  productId: string,
  { quantity = 1n, customerId = "", promotionId = "" } = {},
): Promise<Order> {
  const { order } = await orders.createOrder({
    requestId: randomUUID(),
    order: { customerId, promotionId, items: [{ productId, quantity }] },
  });
  if (order === undefined) throw new Error("no order");
  return order;
}

/** Records that an order was paid by hand. */
export async function payOrder({ orders }: Clients, { id, amountDue }: Order): Promise<Order | undefined> {
  const payment = { amount: amountDue, method: PaymentMethod.CASH, reference: "receipt" };
  return (await orders.markOrderPaid({ id, requestId: randomUUID(), ...payment })).order;
}

/** Returns the types of the events of an order. */
export async function eventTypes({ orders }: Clients, id: string): Promise<OrderEventType[]> {
  return (await orders.listOrderEvents({ id })).events.map(({ type }) => type);
}

/** The events of an order that has expired. */
export const EXPIRED_HISTORY: readonly OrderEventType[] = [
  OrderEventType.PLACED,
  OrderEventType.EXPIRY_STARTED,
  OrderEventType.EXPIRED,
];

/** Ends the leases and delays of all expiries, as if their time had passed. */
export async function endLeases(database: TestDatabase): Promise<void> {
  await database.query("update order_expiry set retry_at = now()");
}
