import {
  type Client,
  createClient as createServiceClient,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { CustomerService } from "../../gen/cartwright/customer/v1/customer_service_pb.ts";
import { IdentityService } from "../../gen/cartwright/identity/v1/identity_service_pb.ts";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { ReviewService } from "../../gen/cartwright/review/v1/review_service_pb.ts";
import { TrackerService } from "../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { createAuthorization, type Token } from "./authorization.ts";
import { connection } from "./connection.ts";
import { createRetries } from "./retries.ts";
import { createMemoryStore, createSession, type Session, type TokenStore } from "./session.ts";

export { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
export * from "../../gen/cartwright/catalog/v1/catalog_pb.ts";
export * from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
export * from "../../gen/cartwright/catalog/v1/import_pb.ts";
export * from "../../gen/cartwright/customer/v1/customer_pb.ts";
export * from "../../gen/cartwright/customer/v1/customer_service_pb.ts";
export * from "../../gen/cartwright/identity/v1/identity_pb.ts";
export * from "../../gen/cartwright/identity/v1/identity_service_pb.ts";
export * from "../../gen/cartwright/order/v1/order_pb.ts";
export * from "../../gen/cartwright/order/v1/order_service_pb.ts";
export { Scope } from "../../gen/cartwright/policy/v1/policy_pb.ts";
export * from "../../gen/cartwright/review/v1/review_pb.ts";
export * from "../../gen/cartwright/review/v1/review_service_pb.ts";
export * from "../../gen/cartwright/tracker/v1/tracker_pb.ts";
export * from "../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
export * from "../../gen/cartwright/type/v1/money_pb.ts";
export type { Token } from "./authorization.ts";
export { type ErrorDetails, errorDetails } from "./errors.ts";
export { pages } from "./pages.ts";
export type { Session, StoredTokens, TokenStore } from "./session.ts";

/** What a transport is made with. Those of connect-web and connect-node take it as it is. */
export interface TransportOptions {
  baseUrl: string;
  /** Without them there is no token and no retry. */
  interceptors: Interceptor[];
  defaultTimeoutMs?: number;
}

export interface ClientOptions {
  /** Where the shop answers, such as http://localhost:8080. */
  baseUrl: string;
  /**
   * An API key or an access token, or a function that is asked for one before each try. A call's own header
   * wins, and whoever has signed in by `session` calls as themselves.
   */
  token?: Token | (() => Token | Promise<Token>);
  /** Where the tokens are kept of whoever signs in. By default in memory. */
  session?: TokenStore;
  /**
   * How long a call may take, all tries together, unless it says otherwise. Absent: the server keeps the
   * deadline that the contract gives each method. A browser then may read without a preflight.
   */
  timeoutMs?: number;
  /** How often a call that is safe to repeat is tried again when the shop is UNAVAILABLE. 3 by default. */
  retries?: number;
  /** Your own, outermost first. They see each call once, however often it is tried. */
  interceptors?: Interceptor[];
  /**
   * How calls travel. By default as Connect over fetch, reads by GET: in Node, browsers and workers alike.
   * For gRPC in Node give `createGrpcTransport` of `@connectrpc/connect-node`.
   */
  transport?: (options: TransportOptions) => Transport;
}

/** The shop's services. Each method is a function of its request, which answers or throws a ConnectError. */
export interface ShopClient {
  readonly catalog: Client<typeof CatalogService>;
  readonly orders: Client<typeof OrderService>;
  readonly tracker: Client<typeof TrackerService>;
  readonly customers: Client<typeof CustomerService>;
  readonly reviews: Client<typeof ReviewService>;
  readonly identity: Client<typeof IdentityService>;
  /** Signs in and out. Tokens are sent with the calls and refreshed by themselves. */
  readonly session: Session;
  /** What the calls go through, for clients of other services on the same port. */
  readonly transport: Transport;
}

/**
 * Connects to a shop. Nothing is sent before the first call. Runs on Node 20.3 and later and in browsers of
 * 2024 and later.
 */
export function createClient(options: ClientOptions): ShopClient {
  const { baseUrl, token, timeoutMs, retries = 3, interceptors = [], transport: open = overFetch } = options;
  const store = options.session ?? createMemoryStore();
  const { session, tokens } = createSession(store, baseUrl, () => identity);
  const authorization = createAuthorization(token, tokens);
  const transport = open({
    baseUrl,
    interceptors: [...interceptors, createRetries(retries), authorization, connection],
    defaultTimeoutMs: timeoutMs,
  });
  const identity = createServiceClient(IdentityService, transport);
  return {
    catalog: createServiceClient(CatalogService, transport),
    orders: createServiceClient(OrderService, transport),
    tracker: createServiceClient(TrackerService, transport),
    customers: createServiceClient(CustomerService, transport),
    reviews: createServiceClient(ReviewService, transport),
    identity,
    session,
    transport,
  };
}

/** Binary, because it keeps enum values that this client is too old to know: in JSON they are lost. */
function overFetch(options: TransportOptions): Transport {
  return createConnectTransport({ ...options, useBinaryFormat: true, useHttpGet: true, fetch: fetchAnew });
}

/**
 * A browser would give what it keeps for as long as the contract lets caches do so, and hears of no write
 * meanwhile. Whoever has just changed something must see it: the browser asks each time, and is mostly told
 * that what it keeps is still good.
 */
const fetchAnew: typeof fetch = (input, init) =>
  // For other methods it would say nothing, but have the browser forget that they were allowed.
  fetch(input, init?.method === "GET" ? { ...init, cache: "no-cache" } : init);
