import { type Catalog, createCatalog } from "./catalog/catalog.ts";
import type { Config } from "./config.ts";
import { type Customers, createCustomers } from "./customer/customer.ts";
import { assertCustomerAccess, createIdentity, type Identity } from "./identity/identity.ts";
import type { InvalidationBus } from "./infra/cache/invalidation-bus.ts";
import { createFailedJobs } from "./infra/jobs/failed-jobs.ts";
import type { Jobs } from "./infra/jobs/jobs.ts";
import type { OutboxTail } from "./infra/outbox/tail/outbox-tail.ts";
import type { PaymentGateway } from "./infra/payment/payment-gateway.ts";
import type { Database } from "./infra/postgres/postgres.ts";
import { getSharedSecret } from "./infra/postgres/secret/shared-secret.ts";
import type { RedisLock } from "./infra/redis/redis-lock.ts";
import { createInventory } from "./inventory/inventory.ts";
import { internalCall } from "./kernel/call.ts";
import type { Clock } from "./kernel/clock.ts";
import type { Ids } from "./kernel/ids.ts";
import type { Log } from "./kernel/log.ts";
import { createPageTokens } from "./kernel/page.ts";
import { createOperations, type Operations } from "./operations/operations.ts";
import { createOrderTokens } from "./order/guest/order-token.ts";
import { readOrderTokenKeys } from "./order/guest/order-token-keys.ts";
import { createReportWriter } from "./order/ledger/report-writer.ts";
import { createOrders, type Orders, type QuoteProvider } from "./order/order.ts";
import { createPaymentHooks } from "./order/payment/payment-hooks.ts";
import { createPayments, type Payments } from "./order/payment/payments.ts";
import { createPaymentCancellation } from "./order/payment/reconcile/payment-cancellation.ts";
import { createEnqueueRequests } from "./order/payment/request/request-rows.ts";
import { createRemoteProvider } from "./order/quote/remote/remote-provider.ts";
import { createTableProvider, type TableProviderOptions } from "./order/quote/table-provider.ts";
import { createRefunds, type Refunds } from "./order/refund/refunds.ts";
import { createZones, type Zones } from "./order/zone/zones.ts";
import { createReviews, type Reviews } from "./review/review.ts";
import { createTracker, type Tracker } from "./tracker/tracker.ts";

/** The features by name. */
export interface Features {
  catalog: Catalog;
  customers: Customers;
  tracker: Tracker;
  orders: Orders;
  zones: Zones;
  payments: Payments;
  refunds: Refunds;
  reviews: Reviews;
  identity: Identity;
  operations: Operations;
}

/** The parts of the infrastructure that features use. */
export interface FeatureDependencies {
  db: Database;
  bus: InvalidationBus;
  tail: OutboxTail;
  stockLock: RedisLock | undefined;
  jobs: Jobs;
  /** Undefined: orders are paid by hand only. */
  gateway: PaymentGateway | undefined;
  ids: Ids;
  clock: Clock;
  log: Log;
}

/** Creates the features, each after those that it uses. */
export async function createFeatures(
  config: Pick<
    Config,
    | "signingKeysFile"
    | "tokenIssuer"
    | "stockStrategy"
    | "reservationSeconds"
    | "quoteService"
    | "dbStatementTimeoutMs"
    | "dbPoolWaitMs"
    | "payments"
  >,
  { db, bus, tail, stockLock, jobs, gateway, ids, clock, log }: FeatureDependencies,
): Promise<Features> {
  const tokens = createPageTokens(await getSharedSecret(db, internalCall(), "page-token"), clock);
  const shared = { db, ids, clock, tokens };
  const inventory = createInventory({ clock });
  const catalog = createCatalog({ ...shared, inventory });
  const customers = createCustomers({ ...shared, assertMayChange: assertCustomerAccess });
  const tracker = createTracker(shared);
  const zones = createZones(shared);
  const orderTokens = createOrderTokens(await readOrderTokenKeys(db, internalCall()));
  const ofPayments = {
    ...shared,
    gateway,
    orderTokens,
    enqueueRequests: createEnqueueRequests(jobs),
    capturesInParts: gateway?.capturesInParts ?? false,
    tracker,
    statementTimeoutMs: config.dbStatementTimeoutMs,
    waitMs: config.dbPoolWaitMs,
    log,
  };
  const reports = createReportWriter(ofPayments);
  const { capture, timeoutMs } = config.payments;
  const orders = createOrders({
    ...shared,
    payments: createPaymentHooks(ofPayments),
    ...(gateway && { cancelPayment: createPaymentCancellation({ db, gateway, timeoutMs, reports }) }),
    catalog,
    inventory,
    customers,
    tracker,
    orderTokens,
    quotes: createQuotes(config, { zones, bus, log }),
    tail,
    log,
    stockStrategy: config.stockStrategy,
    reservationSeconds: config.reservationSeconds,
    stockLock,
    statementTimeoutMs: config.dbStatementTimeoutMs,
    waitMs: config.dbPoolWaitMs,
    onItemsCancelled: (tx, changed) =>
      reviews.deleteUnverified(
        tx,
        changed.map(({ customerId }) => customerId),
      ),
  });
  const payments = createPayments({
    ...ofPayments,
    reports,
    capture,
    timeoutMs,
    getOrder: orders.get,
    cancelOrder: orders.cancel,
  });
  const refunds = createRefunds({ ...ofPayments, catalog, inventory });
  const reviews = createReviews({ ...shared, catalog, orders, readCustomerName: customers.readName });
  const { signingKeysFile, tokenIssuer } = config;
  const identity = await createIdentity({ ...shared, customers, bus, signingKeysFile, tokenIssuer, log });
  const operations = createOperations({ db, failedJobs: createFailedJobs({ db, tokens }) });
  return { catalog, customers, tracker, orders, zones, payments, refunds, reviews, identity, operations };
}

/** Creates the quotes: by the service of the configuration, if there is one, else by the zones. */
function createQuotes(
  { quoteService }: Pick<Config, "quoteService">,
  { log, ...options }: TableProviderOptions & { log: Log },
): QuoteProvider {
  const tables = createTableProvider(options);
  return quoteService === undefined
    ? tables
    : createRemoteProvider({ ...quoteService, fallback: tables, log });
}
