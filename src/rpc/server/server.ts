import type { BlockList } from "node:net";
import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { Health } from "../../../gen/grpc/health/v1/health_pb.ts";
import type { Log } from "../../kernel/log.ts";
import type { Authenticate } from "../call/access/authenticate-call.ts";
import { createOpenCall } from "../call/open-call.ts";
import { createCors } from "../headers/cors.ts";
import type { ResponseCache } from "../interceptors/cache.ts";
import { readPolicies } from "../policy/read-policies.ts";
import { createJsonOptions } from "../protocol/json-options.ts";
import type { CallRateLimiter } from "../rate-limit/call-rate-limiter.ts";
import { HttpConnections } from "./connections/http-connections.ts";
import type { TlsFiles } from "./connections/listener.ts";
import { availableConnections } from "./connections/open-file-limit.ts";
import { createHttpHandlers } from "./http-handlers.ts";
import { createHealthPages, createPages, sendNotFound } from "./http-pages.ts";
import { createInterceptorChain } from "./interceptor-chain.ts";
import { createLoadShedder } from "./load-shedding/load-shedder.ts";
import { overloadedResponse } from "./load-shedding/overloaded-response.ts";
import { type Request, type Response, sendResponse } from "./node-http.ts";
import { createRoutes } from "./routes.ts";
import { createLifecycle, type Server } from "./server-lifecycle.ts";
import { DEFAULT_SERVER_LIMITS, type ServerLimits } from "./server-limits.ts";
import { registerHealth } from "./services/health.ts";
import { createReadiness, type Readiness } from "./services/readiness.ts";
import { createReflectionCharge, registerReflection } from "./services/reflection.ts";
import type { BoundPort } from "./startup/bind-port.ts";
import { OpenWatches } from "./watches/open-watches.ts";
import { createWebhookHandler } from "./webhooks/webhook-handler.ts";
import type { WebhookReceiver } from "./webhooks/webhook-receiver.ts";

/** Dependencies of the server. */
export interface ServerOptions {
  host: string;
  /** 0: any free port. */
  port: number;
  /** The port of `host`, bound already. Absent: the server binds it. */
  boundPort?: BoundPort | undefined;
  /** The port for health checks alone, in plaintext; 0: any free port. Absent: there is none. */
  adminPort?: number | undefined;
  /** The port for health checks, bound already. Absent: the server binds it. */
  boundAdminPort?: BoundPort | undefined;
  /** Absent: plaintext. */
  tls?: TlsFiles | undefined;
  /** The origins of web pages that may call; "*" allows all. */
  corsOrigins: readonly string[];
  /** The request headers of their own that these pages may send. */
  corsHeaders?: readonly string[];
  /** The proxies whose X-Forwarded-For counts. */
  trustedProxies: BlockList;
  /** Maximum concurrent calls. Calls beyond it are rejected with UNAVAILABLE. Absent: no limit. */
  maxCalls?: number | undefined;
  /** Maximum concurrent calls without a deadline, apart from `maxCalls`. Absent: no limit. */
  maxWatchers?: number | undefined;
  /** The services whose policies are enforced, and which reflection and health list. */
  services: readonly DescService[];
  /** Registers the implementations of the services. */
  routes(router: ConnectRouter): void;
  /** Absent: access control is off. */
  authenticate: Authenticate | undefined;
  /** Whether anonymous callers may call methods with ACCESS_GUEST. Default: false. */
  guestCheckout?: boolean;
  /** Absent: rate limits are off. */
  rateLimiter: CallRateLimiter | undefined;
  /** Returns the public signing keys; absent: there are none. */
  jwks?: (() => Promise<object>) | undefined;
  /** Absent: no webhooks are received. */
  webhooks?: WebhookReceiver | undefined;
  /** Absent: the cache is off. */
  cache: ResponseCache | undefined;
  /** The memory for the encodings of cached responses, in bytes. */
  encodedBytes: number;
  /** Checks whether calls can be served. */
  isReady(): Promise<Readiness>;
  /** Whether errors without details get an ErrorInfo. Default: true. */
  addsErrorInfo?: boolean;
  log: Log;
  /** Limits that differ from the defaults, for tests. */
  limits?: Partial<ServerLimits>;
}

export type { Server, WebhookReceiver };

/**
 * Creates the server: one port for gRPC, gRPC-Web and Connect over HTTP/1.1 and HTTP/2, with reflection and health.
 * @throws StartupError for contracts with invalid policies and for certificates that cannot be used
 */
export function createServer(options: ServerOptions): Server {
  const { services, rateLimiter, log } = options;
  const limits = { ...DEFAULT_SERVER_LIMITS, ...options.limits };
  const policies = readPolicies(services);
  const drain = new AbortController();
  const draining = drain.signal;
  const readiness = createReadiness(options.isReady, draining, limits, log);
  const { authenticate, cache, addsErrorInfo = true, trustedProxies } = options;
  const connections = new HttpConnections({ trustedProxies, limits, log });
  const chain = createInterceptorChain({
    policies,
    authenticate,
    guestCheckout: options.guestCheckout ?? false,
    rateLimiter,
    cache,
    chargePeer: (peer) => connections.chargeRejectedCall(peer),
    addsErrorInfo,
    log,
  });
  const jsonOptions = createJsonOptions(services);
  const routes = createRoutes({
    register(router) {
      options.routes(router);
      registerHealth(router, { services, readiness, watchMs: limits.healthWatchMs, draining });
      registerReflection(router, { services, charge: createReflectionCharge(rateLimiter), draining });
    },
    chain,
    policies,
    jsonOptions,
    limits,
  });
  const serviceNames = services.map((service) => service.typeName);
  const shared = {
    admission: chain.admission,
    errors: chain.errors,
    openCall: createOpenCall({ trustedProxies, limits, log }),
    loadShedder: createLoadShedder({
      ...limits,
      name: "Calls",
      maxCalls: options.maxCalls ?? Number.POSITIVE_INFINITY,
      log,
    }),
    watchShedder: createLoadShedder({
      ...limits,
      name: "Watches",
      maxCalls: options.maxWatchers ?? Number.POSITIVE_INFINITY,
      log,
    }),
    watches: new OpenWatches({ reauthenticate: chain.reauthenticate, limits, draining }),
    cors: createCors(options.corsOrigins, options.corsHeaders),
    peerOf: (request: Request) => connections.peerOf(request),
    limits,
    encodedBytes: options.encodedBytes,
    jsonOptions,
    draining,
    log,
  };
  const { webhooks } = options;
  const handleWebhook =
    webhooks &&
    createWebhookHandler({
      receiver: webhooks,
      loadShedder: createLoadShedder({ ...limits, name: "Webhooks", maxCalls: limits.maxWebhooks, log }),
      trustedProxies,
      peerOf: shared.peerOf,
      chargePeer: (peer, calls) => connections.chargeRejectedCall(peer, calls),
      limits,
      log,
    });
  const handlePage = createPages({ serviceNames, readiness, jwks: options.jwks });
  const handlers = createHttpHandlers({
    ...shared,
    routes,
    handlePage(request, response) {
      if (handleWebhook?.(request, response) !== true) handlePage(request, response);
    },
  });
  const healthHandlers = (otherwise: (request: Request, response: Response) => void) =>
    createHttpHandlers({
      ...shared,
      routes: new Map([...routes].filter(([, { method }]) => method.parent.typeName === Health.typeName)),
      handlePage: createHealthPages({ readiness, otherwise }),
    });
  const port = connections.createPort({
    tls: options.tls,
    maxConnections: availableConnections(limits, log),
    handlers,
    reserve: { maxConnections: limits.reservedConnections, handlers: healthHandlers(sendOverloaded) },
    refusesIndebted: true,
  });
  const admin =
    options.adminPort === undefined
      ? undefined
      : {
          port: options.adminPort,
          boundPort: options.boundAdminPort,
          listener: connections.createPort({
            tls: undefined,
            maxConnections: limits.adminConnections,
            handlers: healthHandlers(sendNotFound),
            reserve: undefined,
            // Probes may have the address of callers that are behind the same address translation.
            refusesIndebted: false,
          }).listener,
        };
  return createLifecycle({
    address: { host: options.host, port: options.port, isSecure: options.tls !== undefined },
    boundPort: options.boundPort,
    listener: port.listener,
    admin,
    connections,
    drain,
    stopIdleMs: limits.stopIdleMs,
    log,
  });
}

/** Rejects a request on a connection that serves health checks only, because there are too many connections. */
function sendOverloaded(request: Request, response: Response): void {
  sendResponse(response, overloadedResponse(request.headers["content-type"]));
}
