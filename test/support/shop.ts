import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { inject } from "vitest";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { CustomerService } from "../../gen/cartwright/customer/v1/customer_service_pb.ts";
import { IdentityService } from "../../gen/cartwright/identity/v1/identity_service_pb.ts";
import { OperationsService } from "../../gen/cartwright/operations/v1/operations_service_pb.ts";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { ZoneService } from "../../gen/cartwright/order/v1/zone_service_pb.ts";
import { PaymentService } from "../../gen/cartwright/payment/v1/payment_service_pb.ts";
import { ReviewService } from "../../gen/cartwright/review/v1/review_service_pb.ts";
import { TrackerService } from "../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { type AdaptGateway, type App, startApp } from "../../src/app.ts";
import { readConfig } from "../../src/config.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import type { Log } from "../../src/kernel/log.ts";
import { silentLog } from "./log.ts";
import { createTestDatabase, type TestDatabase } from "./stores/database.ts";

/** The service in this process on a real port, with a database of its own and clients over real sockets. */
export interface TestShop extends Clients {
  app: App;
  url: string;
  database: TestDatabase;
  /** The same clients with Connect JSON over HTTP/1.1. */
  json: Clients;
  close(): Promise<void>;
}

/** A client for each service. */
export interface Clients {
  catalog: Client<typeof CatalogService>;
  orders: Client<typeof OrderService>;
  zones: Client<typeof ZoneService>;
  payments: Client<typeof PaymentService>;
  tracker: Client<typeof TrackerService>;
  customers: Client<typeof CustomerService>;
  identity: Client<typeof IdentityService>;
  reviews: Client<typeof ReviewService>;
  operations: Client<typeof OperationsService>;
}

/**
 * Starts the service with an empty database.
 * @param env configuration besides the stores, such as `DB_POOL_MAX`
 * @param proxyDatabase returns the URL by which the service connects to its database. Defaults to a direct connection
 * @param adaptGateway returns the gateway of payments. Defaults to that of the configuration
 */
export async function startShop(
  env: Record<string, string> = {},
  log: Log = silentLog,
  proxyDatabase: (databaseUrl: string) => Promise<string> = async (url) => url,
  adaptGateway?: AdaptGateway,
): Promise<TestShop> {
  const database = await createTestDatabase();
  const dataDir = await mkdtemp(join(tmpdir(), "cartwright-shop-"));
  const config = readConfig({
    PORT: "0",
    DATABASE_URL: await proxyDatabase(database.url),
    REDIS_URL: inject("redisUrl"),
    SEED_DEMO: "off",
    DATA_DIR: dataDir,
    // Most tests make many calls without signing in. Tests of access control and rate limits turn them on.
    ACCESS: "off",
    LIMITS: "off",
    MAX_CALLS: "10000",
    // On a busy machine a crowd of calls waits longer for a connection and for locks than the defaults allow.
    DB_POOL_WAIT_MS: "30000",
    DB_STATEMENT_TIMEOUT_MS: "30000",
    ...env,
  });
  const app = await startApp(config, log, systemClock, adaptGateway);
  const options = { baseUrl: app.url, interceptors: [longDeadline] };
  return {
    ...clientsOf(createGrpcTransport(options)),
    json: clientsOf(createConnectTransport({ ...options, httpVersion: "1.1", useBinaryFormat: false })),
    app,
    url: app.url,
    database,
    async close() {
      await app.close(1_000);
      await database.drop();
      await rm(dataDir, { recursive: true });
    },
  };
}

/**
 * Gives unary calls without a deadline the longest that the contracts allow: on a busy machine a crowd of calls takes
 * longer than the default, and tests count outcomes, not times.
 */
export const longDeadline: Interceptor = (next) => (request) => {
  const isGrpc = request.header.get("content-type")?.startsWith("application/grpc") === true;
  const [name, value] = isGrpc ? ["grpc-timeout", "30S"] : ["connect-timeout-ms", "30000"];
  if (!request.stream && !request.header.has(name)) request.header.set(name, value);
  return next(request);
};

/** Creates clients over a transport. */
export function clientsOf(transport: Transport): Clients {
  return {
    catalog: createClient(CatalogService, transport),
    orders: createClient(OrderService, transport),
    zones: createClient(ZoneService, transport),
    payments: createClient(PaymentService, transport),
    tracker: createClient(TrackerService, transport),
    customers: createClient(CustomerService, transport),
    identity: createClient(IdentityService, transport),
    reviews: createClient(ReviewService, transport),
    operations: createClient(OperationsService, transport),
  };
}
