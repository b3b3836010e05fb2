import type { Message } from "@bufbuild/protobuf";
import { CatalogService } from "../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ImportRowSchema } from "../gen/cartwright/catalog/v1/import_pb.ts";
import { CustomerService } from "../gen/cartwright/customer/v1/customer_service_pb.ts";
import { IdentityService } from "../gen/cartwright/identity/v1/identity_service_pb.ts";
import { OrderService } from "../gen/cartwright/order/v1/order_service_pb.ts";
import { ReviewService } from "../gen/cartwright/review/v1/review_service_pb.ts";
import { TrackerService } from "../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { catalogRpc } from "./catalog/catalog.rpc.ts";
import { createCatalog } from "./catalog/catalog.ts";
import { createDemoAccounts, type DemoAccounts } from "./cli/seed/demo-accounts.ts";
import { isEmptyShop } from "./cli/seed/empty.ts";
import { seedShop } from "./cli/seed/seed.ts";
import type { Config } from "./config.ts";
import { customerRpc } from "./customer/customer.rpc.ts";
import { createCustomers } from "./customer/customer.ts";
import { entities } from "./entities.ts";
import { identityRpc } from "./identity/identity.rpc.ts";
import { assertMayChange, createIdentity } from "./identity/identity.ts";
import { withAuditLog } from "./infra/audit/audit.ts";
import { Cache } from "./infra/cache/cache.ts";
import { InvalidationBus } from "./infra/cache/invalidation-bus.ts";
import { openStores } from "./infra/embedded/stores.ts";
import { openJobs } from "./infra/jobs/jobs.ts";
import { createInvalidationPublisher, withInvalidationOutbox } from "./infra/outbox/invalidation-outbox.ts";
import { migrate } from "./infra/postgres/migrate.ts";
import { type Database, openPostgres } from "./infra/postgres/postgres.ts";
import { sharedSecret } from "./infra/postgres/secrets.ts";
import { createLimiter, type Limiter } from "./infra/rate-limit/limiter.ts";
import { openRedis, type RedisConnection } from "./infra/redis/redis.ts";
import { createInventory } from "./inventory/inventory.ts";
import { type Call, internalCall } from "./kernel/call.ts";
import { type Clock, createIds, type Ids, systemClock } from "./kernel/clock.ts";
import type { Log } from "./kernel/log.ts";
import { createPageTokens } from "./kernel/page.ts";
import { orderRpc } from "./order/order.rpc.ts";
import { createOrders } from "./order/order.ts";
import { reviewRpc } from "./review/review.rpc.ts";
import { createReviews } from "./review/review.ts";
import { getCall } from "./rpc/call/active-call.ts";
import { createCallLimits } from "./rpc/interceptors/rate-limit.ts";
import { createCheck } from "./rpc/interceptors/validation.ts";
import { readPolicies } from "./rpc/policy/read-policies.ts";
import { createServer, type Server } from "./rpc/server/server.ts";
import { trackerRpc } from "./tracker/tracker.rpc.ts";
import { createTracker } from "./tracker/tracker.ts";
import { startWorker } from "./worker.ts";

/** A shop that runs. */
export interface App {
  /** Where it answers, such as http://127.0.0.1:8080. */
  readonly url: string;
  /** What was started for it, a line each. */
  readonly started: readonly string[];
  /** Accounts that were made for the demo, at its first start and never again. */
  readonly demo: DemoAccounts | undefined;
  /** Resolves when a store that it cannot do without has ended by itself, which is then in the log. */
  readonly failed: Promise<void>;
  /** Ends it: calls in flight are finished, for `graceMs` milliseconds at most, then the stores are closed. */
  close(graceMs?: number): Promise<void>;
}

/** How long calls in flight may take once the process is told to stop. */
const GRACE_MS = 10_000;
/** How much of the memory for cached answers is for the bytes that are made of them. */
const ENCODED_SHARE = 1 / 4;
/** What the demo holds. */
const DEMO_PRODUCTS = 2_000;
const DEMO_CUSTOMERS = 100;

/**
 * Builds the shop from its configuration, brings its schema up to date and serves it.
 * @throws StartError for whatever the person who starts it can mend
 */
export async function startApp(config: Config, log: Log, clock: Clock = systemClock): Promise<App> {
  const closing: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const step of closing.splice(0).reverse()) await step();
  };
  try {
    const stores = await openStores(config, log);
    closing.push(() => stores.close());
    await migrate(stores.databaseUrl, entities, log);
    if (config.seedDemo) await seedDemo(stores.databaseUrl, log);
    const db = await openPostgres({
      url: stores.databaseUrl,
      entities,
      poolMax: config.dbPoolMax,
      poolWaitMs: config.dbPoolWaitMs,
      statementTimeoutMs: config.dbStatementTimeoutMs,
      log,
    });
    closing.push(() => db.close());
    const redis = openRedis(stores.redisUrl, log);
    closing.push(() => redis.close());
    const namespace = (await sharedSecret(db, internalCall(), "cache-namespace")).toString("hex", 0, 8);
    const ties = new InvalidationBus({ redis: redis.client, namespace, log });
    closing.push(async () => ties.close());
    const cache = new Cache<Message>({ ties, maxBytes: config.cacheMemoryBytes * (1 - ENCODED_SHARE) });
    const limiter = config.limits ? createLimiter({ redis: redis.client, namespace, log }) : undefined;
    closing.push(async () => limiter?.close());
    const jobs = await openJobs({ url: stores.databaseUrl, workers: config.workers, log });
    closing.push(() => jobs.close());
    const ids = createIds(clock);
    const announced = withInvalidationOutbox(
      withAuditLog(db, { ids, clock }),
      createInvalidationPublisher(jobs, cache),
    );
    const ground = { db: announced, redis, cache, ties, limiter, ids, clock, log };
    const rooms = await createFeatures(config, ground);
    closing.push(async () => rooms.identity.close());
    const tidy = (call: Call) => rooms.identity.forget(call);
    if (config.workers > 0) closing.push(await startWorker({ db, jobs, cache, tidy, log }));
    const server = buildServer(config, ground, rooms);
    let graceMs = GRACE_MS;
    closing.push(() => server.close(graceMs));
    const { url } = await server.listen();
    // Their password is shown once, so not before nothing can go wrong any more.
    const demo = config.seedDemo ? await createDemoAccounts(rooms.identity) : undefined;
    return {
      url,
      started: stores.started,
      demo,
      failed: stores.failed,
      close: (grace = GRACE_MS) => {
        graceMs = grace;
        return close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Fills an empty shop, so that the first call shows something. */
async function seedDemo(url: string, log: Log): Promise<void> {
  if (!(await isEmptyShop(url))) return;
  const added = await seedShop({ url, products: DEMO_PRODUCTS, customers: DEMO_CUSTOMERS });
  log.info({ ...added }, "filled the empty shop with a demo");
}

/** What the services stand on. */
interface Infrastructure {
  db: Database;
  redis: RedisConnection;
  cache: Cache<Message>;
  ties: InvalidationBus;
  limiter: Limiter | undefined;
  ids: Ids;
  clock: Clock;
  log: Log;
}

/** The features, in the order in which they know each other. */
async function createFeatures(config: Config, { db, ties, ids, clock, log }: Infrastructure) {
  const tokens = createPageTokens(await sharedSecret(db, internalCall(), "page-token"), clock);
  const room = { db, ids, clock, tokens };
  const inventory = createInventory({ clock });
  const catalog = createCatalog({ ...room, inventory });
  const customers = createCustomers({ ...room, assertMayChange });
  const tracker = createTracker(room);
  const orders = createOrders({
    ...room,
    ...{ catalog, inventory, customers, tracker },
    onCancelled: (tx, order) => reviews.withdraw(tx, order.customerId),
  });
  const reviews = createReviews({ ...room, catalog, orders, authorNameOf: customers.nameOf });
  const { signingKeysFile, tokenIssuer } = config;
  const identity = await createIdentity({ ...room, customers, ties, signingKeysFile, tokenIssuer, log });
  return { catalog, customers, tracker, orders, reviews, identity };
}

/** What is served, in the order of the documentation. */
const services = [
  CatalogService,
  OrderService,
  TrackerService,
  ReviewService,
  CustomerService,
  IdentityService,
];

function buildServer(
  config: Config,
  { redis, db, cache, limiter, log }: Infrastructure,
  { catalog, customers, tracker, orders, reviews, identity }: Awaited<ReturnType<typeof createFeatures>>,
): Server {
  const check = createCheck();
  const { budgets, signedInTimes, serviceTimes } = config;
  const policies = readPolicies(services);
  return createServer({
    host: config.host,
    port: config.port,
    tls: config.tls,
    corsOrigins: config.corsOrigins,
    trustedProxies: config.trustedProxies,
    maxCalls: config.maxCalls,
    services: [CatalogService, OrderService, TrackerService, CustomerService, IdentityService, ReviewService],
    routes: (router) =>
      router
        .service(
          CatalogService,
          catalogRpc(catalog, getCall, (row) => check(ImportRowSchema, row)),
        )
        .service(OrderService, orderRpc(orders, getCall))
        .service(TrackerService, trackerRpc(tracker, getCall))
        .service(CustomerService, customerRpc(customers, getCall))
        .service(IdentityService, identityRpc(identity, getCall))
        .service(ReviewService, reviewRpc(reviews, getCall)),
    authenticate: config.access ? identity.authenticate : undefined,
    encodedBytes: config.cacheMemoryBytes * ENCODED_SHARE,
    callLimits:
      limiter &&
      createCallLimits({ limiter, budgets, signedInTimes, serviceTimes, policies: policies.values() }),
    cache: config.cache ? cache : undefined,
    jwks: identity.jwks,
    isReady: async () => {
      const [postgres, shared] = await Promise.all([isUp(db.ping()), redis.isUp()]);
      // Without PostgreSQL there is no shop; without Redis it is only slower.
      return { ready: postgres, checks: { postgres: word(postgres), redis: word(shared) } };
    },
    log,
  });
}

const word = (up: boolean): string => (up ? "up" : "down");

function isUp(ping: Promise<void>): Promise<boolean> {
  return ping.then(
    () => true,
    () => false,
  );
}
