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
import { OperationsService } from "../../gen/cartwright/operations/v1/operations_service_pb.ts";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { ZoneService } from "../../gen/cartwright/order/v1/zone_service_pb.ts";
import { PaymentService } from "../../gen/cartwright/payment/v1/payment_service_pb.ts";
import { ReviewService } from "../../gen/cartwright/review/v1/review_service_pb.ts";
import { TrackerService } from "../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { createAuthorizationInterceptor, type Token } from "./authorization.ts";
import { connectionErrorInterceptor } from "./connection-errors.ts";
import { createRetryInterceptor } from "./retries.ts";
import { createSession, type Session } from "./session.ts";
import { createMemoryStore, type TokenStore } from "./token-store.ts";

export { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
export * from "../../gen/cartwright/catalog/v1/catalog_pb.ts";
export * from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
export * from "../../gen/cartwright/catalog/v1/import_pb.ts";
export * from "../../gen/cartwright/catalog/v1/stock_pb.ts";
export * from "../../gen/cartwright/customer/v1/customer_pb.ts";
export * from "../../gen/cartwright/customer/v1/customer_service_pb.ts";
export * from "../../gen/cartwright/identity/v1/identity_pb.ts";
export * from "../../gen/cartwright/identity/v1/identity_service_pb.ts";
export * from "../../gen/cartwright/operations/v1/operations_pb.ts";
export * from "../../gen/cartwright/operations/v1/operations_service_pb.ts";
export * from "../../gen/cartwright/order/v1/fulfillment_pb.ts";
export * from "../../gen/cartwright/order/v1/order_actor_pb.ts";
export * from "../../gen/cartwright/order/v1/order_event_pb.ts";
export * from "../../gen/cartwright/order/v1/order_pb.ts";
export * from "../../gen/cartwright/order/v1/order_service_pb.ts";
export * from "../../gen/cartwright/order/v1/quote_pb.ts";
export * from "../../gen/cartwright/order/v1/refund_pb.ts";
export * from "../../gen/cartwright/order/v1/zone_pb.ts";
export * from "../../gen/cartwright/order/v1/zone_service_pb.ts";
export * from "../../gen/cartwright/payment/v1/ledger_pb.ts";
// PaymentState is that of an order, so that of a payment has another name here.
export {
  CaptureMethod,
  CaptureMethodSchema,
  type Payment,
  type PaymentFailure,
  PaymentFailureSchema,
  type PaymentNextAction,
  PaymentNextActionSchema,
  PaymentSchema,
  PaymentState as PaymentStatus,
  PaymentStateSchema as PaymentStatusSchema,
} from "../../gen/cartwright/payment/v1/payment_pb.ts";
export * from "../../gen/cartwright/payment/v1/payment_service_pb.ts";
export { Scope } from "../../gen/cartwright/policy/v1/policy_pb.ts";
export * from "../../gen/cartwright/review/v1/review_pb.ts";
export * from "../../gen/cartwright/review/v1/review_service_pb.ts";
export * from "../../gen/cartwright/tracker/v1/tracker_pb.ts";
export * from "../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
export * from "../../gen/cartwright/type/v1/money_pb.ts";
export * from "../../gen/cartwright/type/v1/postal_address_pb.ts";
export type { Token } from "./authorization.ts";
export { type ErrorDetails, errorDetails } from "./errors.ts";
export { pages } from "./pages.ts";
export type { Session } from "./session.ts";
export type { StoredTokens, TokenStore } from "./token-store.ts";

/** Options of a transport, as those of connect-web and connect-node accept them. */
export interface TransportOptions {
  baseUrl: string;
  /** The interceptors that send tokens and retry. A transport must run them. */
  interceptors: Interceptor[];
  defaultTimeoutMs?: number;
}

/** Options of a client. */
export interface ClientOptions {
  /** The address of the service, such as http://localhost:8080; in pages of the same origin `location.origin`. */
  baseUrl: string;
  /**
   * An API key or an access token, or a function that returns one before each attempt. The header of a call and the
   * session of a signed-in account take precedence.
   */
  token?: Token | (() => Token | Promise<Token>);
  /** Storage for the tokens of the session. Defaults to a store in memory. */
  session?: TokenStore;
  /**
   * Default deadline of a call with all its attempts, in milliseconds. Defaults to the deadline of the contract,
   * which the service applies; then browsers need no preflight for reads.
   */
  timeoutMs?: number;
  /** Maximum number of retries of an idempotent call after UNAVAILABLE. Defaults to 3. */
  retries?: number;
  /** Additional interceptors, outermost first. They run once for each call, not once for each attempt. */
  interceptors?: Interceptor[];
  /**
   * Creates the transport. Defaults to Connect over fetch with GET for reads, in Node, browsers and workers. For gRPC in
   * Node, pass `createGrpcTransport` of `@connectrpc/connect-node`.
   */
  transport?: (options: TransportOptions) => Transport;
}

/** The clients of all services. A method returns its response or throws a ConnectError. */
export interface ShopClient {
  readonly catalog: Client<typeof CatalogService>;
  readonly orders: Client<typeof OrderService>;
  readonly zones: Client<typeof ZoneService>;
  readonly payments: Client<typeof PaymentService>;
  readonly tracker: Client<typeof TrackerService>;
  readonly customers: Client<typeof CustomerService>;
  readonly reviews: Client<typeof ReviewService>;
  readonly identity: Client<typeof IdentityService>;
  readonly operations: Client<typeof OperationsService>;
  /** Signs in and out. Calls carry the tokens of the session, which are refreshed automatically. */
  readonly session: Session;
  /** The transport, for clients of other services on the same port. */
  readonly transport: Transport;
}

/**
 * Creates clients of all services. Sends nothing before the first call. Supports Node 20.3 and later and browsers of 2024
 * and later.
 * @throws TypeError for an address without http:// or https://
 */
export function createClient(options: ClientOptions): ShopClient {
  const {
    baseUrl,
    token,
    timeoutMs,
    retries = 3,
    interceptors = [],
    transport: createTransport = createFetchTransport,
  } = options;
  if (!/^https?:\/\//i.test(baseUrl)) {
    throw new TypeError("baseUrl must start with http:// or https://, such as http://localhost:8080.");
  }
  const store = options.session ?? createMemoryStore();
  const { session, tokens } = createSession(store, baseUrl, () => identity);
  const authorization = createAuthorizationInterceptor(token, tokens);
  const transport = createTransport({
    baseUrl,
    interceptors: [
      ...interceptors,
      createRetryInterceptor(retries),
      authorization,
      connectionErrorInterceptor,
    ],
    defaultTimeoutMs: timeoutMs,
  });
  const identity = createServiceClient(IdentityService, transport);
  return {
    catalog: createServiceClient(CatalogService, transport),
    orders: createServiceClient(OrderService, transport),
    zones: createServiceClient(ZoneService, transport),
    payments: createServiceClient(PaymentService, transport),
    tracker: createServiceClient(TrackerService, transport),
    customers: createServiceClient(CustomerService, transport),
    reviews: createServiceClient(ReviewService, transport),
    identity,
    operations: createServiceClient(OperationsService, transport),
    session,
    transport,
  };
}

/** Creates the default transport. Binary, because JSON loses enum values that are newer than the client. */
function createFetchTransport(options: TransportOptions): Transport {
  return createConnectTransport({
    ...options,
    useBinaryFormat: true,
    useHttpGet: true,
    fetch: fetchRevalidated,
  });
}

/**
 * Makes the browser revalidate cached responses. Otherwise it uses them as long as the contract allows, and a
 * caller would not see their own change. If nothing has changed, the service responds 304.
 */
const fetchRevalidated: typeof fetch = (input, init) =>
  // With other methods, `no-cache` has no effect but drops the browser's preflight cache.
  fetch(input, init?.method === "GET" ? { ...init, cache: "no-cache" } : init);
