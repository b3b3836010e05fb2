import type { DescService, Message } from "@bufbuild/protobuf";
import { CatalogService } from "../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ImportRowSchema } from "../gen/cartwright/catalog/v1/import_pb.ts";
import { CustomerService } from "../gen/cartwright/customer/v1/customer_service_pb.ts";
import { IdentityService } from "../gen/cartwright/identity/v1/identity_service_pb.ts";
import { OperationsService } from "../gen/cartwright/operations/v1/operations_service_pb.ts";
import { OrderService } from "../gen/cartwright/order/v1/order_service_pb.ts";
import { ZoneService } from "../gen/cartwright/order/v1/zone_service_pb.ts";
import { PaymentService } from "../gen/cartwright/payment/v1/payment_service_pb.ts";
import { ReviewService } from "../gen/cartwright/review/v1/review_service_pb.ts";
import { TrackerService } from "../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { catalogRpc } from "./catalog/catalog.rpc.ts";
import { type DemoAccounts, ensureDemoAccounts } from "./cli/seed/demo-accounts.ts";
import { seedDemo } from "./cli/seed/seed-demo.ts";
import type { Config } from "./config.ts";
import { customerRpc } from "./customer/customer.rpc.ts";
import { entities } from "./entities.ts";
import { createFeatures, type Features } from "./features.ts";
import { identityRpc } from "./identity/identity.rpc.ts";
import { Cache } from "./infra/cache/cache.ts";
import { openStores } from "./infra/embedded/stores.ts";
import type { PaymentGateway } from "./infra/payment/payment-gateway.ts";
import { migrate } from "./infra/postgres/migrate.ts";
import { type Infrastructure, openInfrastructure, readReadiness } from "./infrastructure.ts";
import { type Clock, systemClock } from "./kernel/clock.ts";
import type { Log } from "./kernel/log.ts";
import { operationsRpc } from "./operations/operations.rpc.ts";
import { orderRpc } from "./order/order.rpc.ts";
import { paymentRpc } from "./order/payment/payment.rpc.ts";
import { refundRpc } from "./order/refund/refund.rpc.ts";
import { zoneRpc } from "./order/zone/zone.rpc.ts";
import { reviewRpc } from "./review/review.rpc.ts";
import { getCall } from "./rpc/call/call-context.ts";
import { readPolicies } from "./rpc/policy/read-policies.ts";
import { createCallRateLimiter } from "./rpc/rate-limit/call-rate-limiter.ts";
import { createServer, type Server } from "./rpc/server/server.ts";
import { type BoundPort, bindPort } from "./rpc/server/startup/bind-port.ts";
import { createMessageValidator } from "./rpc/validation/message-validator.ts";
import { trackerRpc } from "./tracker/tracker.rpc.ts";
import { startWorker } from "./worker.ts";

/** A running service. */
export interface App {
  /** The address of the server, such as http://127.0.0.1:8080. */
  readonly url: string;
  /** The address of the port for health checks; absent: there is none. */
  readonly adminUrl: string | undefined;
  /** The embedded stores that were started, one line each. */
  readonly started: readonly string[];
  /** The demo accounts, unless SEED_DEMO is off or the shop has none of them. */
  readonly demo: DemoAccounts | undefined;
  /** Resolves when an embedded store that the service requires has exited by itself; the log has the reason. */
  readonly failed: Promise<void>;
  /** Finishes calls in flight, for `graceMs` milliseconds at most, then closes the server and the stores. */
  close(graceMs?: number): Promise<void>;
}

/** Returns the gateway of payments, such as one that fails in tests. Undefined: orders are paid by hand only. */
export type AdaptGateway = (configured: PaymentGateway | undefined) => PaymentGateway | undefined;

/** The time that calls in flight have at shutdown, in milliseconds. */
const GRACE_MS = 10_000;
/** The share of the cache memory that holds encoded responses; the rest holds messages. */
const ENCODED_SHARE = 1 / 4;

/** The gRPC services, in the order of the documentation. */
export const services: readonly DescService[] = [
  CatalogService,
  OrderService,
  ZoneService,
  PaymentService,
  TrackerService,
  ReviewService,
  CustomerService,
  IdentityService,
  OperationsService,
];

/**
 * Starts the service: opens the stores, migrates the schema, creates the features and serves them.
 * @param adaptGateway returns the gateway of payments. Defaults to that of the configuration
 * @throws StartupError for a mistake that the operator can correct
 */
export async function startApp(
  config: Config,
  log: Log,
  clock: Clock = systemClock,
  adaptGateway: AdaptGateway = (gateway) => gateway,
): Promise<App> {
  const cleanups: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  };
  try {
    // First, because a port in use is noticed before anything is started.
    const boundPort = await bindPort({ ...config, log });
    cleanups.push(() => boundPort.close());
    const boundAdminPort = await bindAdminPort(config, log);
    cleanups.push(async () => boundAdminPort?.close());
    const stores = await openStores(config, log);
    cleanups.push(() => stores.close());
    await migrate(stores.databaseUrl, entities, log);
    if (config.seedDemo) await seedDemo(stores.databaseUrl, log);
    const infrastructure = await openInfrastructure(config, stores, { clock, log }, cleanups);
    const features = await createFeatures(config, {
      ...infrastructure,
      gateway: adaptGateway(infrastructure.gateway?.gateway),
    });
    cleanups.push(async () => features.identity.close());
    cleanups.push(() => features.payments.webhooks.close());
    if (config.workers > 0) cleanups.push(await startWorker({ ...infrastructure, ...features }));
    const server = createAppServer(config, { boundPort, boundAdminPort }, infrastructure, features);
    let shutdownGraceMs = GRACE_MS;
    cleanups.push(() => server.close(shutdownGraceMs));
    const { url, adminUrl } = await server.listen();
    const delivery = infrastructure.gateway?.deliverTo?.(url);
    cleanups.push(async () => delivery?.close());
    // The password is shown only once: the accounts are created when nothing else can fail.
    const demo = config.seedDemo ? await ensureDemoAccounts(features.identity, config.dataDir) : undefined;
    return {
      url,
      adminUrl,
      started: stores.started,
      demo,
      failed: stores.failed,
      close: (graceMs = GRACE_MS) => {
        shutdownGraceMs = graceMs;
        return close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Binds the port for health checks, if there is one. */
async function bindAdminPort({ host, adminPort }: Config, log: Log): Promise<BoundPort | undefined> {
  if (adminPort === undefined) return undefined;
  return bindPort({ host, port: adminPort, portVariable: "ADMIN_PORT", log });
}

function createAppServer(
  config: Config,
  ports: { boundPort: BoundPort; boundAdminPort: BoundPort | undefined },
  { redis, db, bus, limiter, log }: Infrastructure,
  { catalog, customers, tracker, orders, zones, payments, refunds, reviews, identity, operations }: Features,
): Server {
  const validate = createMessageValidator();
  const { budgets, sharedMultiplier, accountMultiplier, serviceMultiplier } = config;
  const policies = readPolicies(services);
  return createServer({
    host: config.host,
    port: config.port,
    ...ports,
    adminPort: config.adminPort,
    tls: config.tls,
    corsOrigins: config.corsOrigins,
    corsHeaders: config.corsHeaders,
    trustedProxies: config.trustedProxies,
    maxCalls: config.maxCalls,
    maxWatchers: config.maxWatchers,
    guestCheckout: config.guestCheckout,
    services,
    routes: (router) =>
      router
        .service(
          CatalogService,
          catalogRpc(catalog, getCall, (row) => validate(ImportRowSchema, row)),
        )
        .service(OrderService, { ...orderRpc(orders, getCall), ...refundRpc(refunds, getCall) })
        .service(ZoneService, zoneRpc(zones, getCall))
        .service(PaymentService, paymentRpc(payments, getCall))
        .service(TrackerService, trackerRpc(tracker, getCall))
        .service(ReviewService, reviewRpc(reviews, getCall))
        .service(CustomerService, customerRpc(customers, getCall))
        .service(IdentityService, identityRpc(identity, getCall))
        .service(OperationsService, operationsRpc(operations, getCall)),
    authenticate: config.access ? identity.authenticate : undefined,
    encodedBytes: config.cacheMemoryBytes * ENCODED_SHARE,
    rateLimiter:
      limiter &&
      createCallRateLimiter({
        limiter,
        budgets,
        sharedMultiplier,
        accountMultiplier,
        serviceMultiplier,
        policies: policies.values(),
      }),
    cache: config.cache
      ? new Cache<Message>({ bus, maxBytes: config.cacheMemoryBytes * (1 - ENCODED_SHARE) })
      : undefined,
    jwks: identity.jwks,
    webhooks: payments.webhooks,
    isReady: () => readReadiness({ db, redis }),
    log,
  });
}
