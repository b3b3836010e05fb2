import { createServer as createHttp1Server, type Server as Http1Server } from "node:http";
import { createServer as createHttp2Server, type Http2Server } from "node:http2";
import type { BlockList } from "node:net";
import { create, type DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { MethodPolicySchema, RateLimitClass } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Log } from "../../kernel/log.ts";
import { callKey } from "../call/active-call.ts";
import { createOpenCall } from "../call/open-call.ts";
import { Http1Exchange, Http2Exchange } from "../fast-path/http-exchange.ts";
import { createResponseEncoder } from "../fast-path/response-encoder.ts";
import { createUnaryFastPath } from "../fast-path/unary-fast-path.ts";
import { createCors } from "../headers/cors.ts";
import type { Authenticate } from "../interceptors/access.ts";
import type { AnswerCache } from "../interceptors/cache.ts";
import { createChain } from "../interceptors/chain.ts";
import type { CallLimits } from "../interceptors/rate-limit.ts";
import { longestDeadlineMs } from "../policy/policy-errors.ts";
import { readPolicies } from "../policy/read-policies.ts";
import { createRpcListener } from "./connect-adapter.ts";
import { registerHealth } from "./health.ts";
import { createPages, isHttp1, type Request, type Response } from "./http-pages.ts";
import { Http2Sessions } from "./http2-sessions.ts";
import { createLifecycle, type Server } from "./lifecycle.ts";
import { createListener } from "./listener.ts";
import { createLoadShedder } from "./load-shedder.ts";
import { createReadiness, type Readiness } from "./readiness.ts";
import { registerReflection } from "./reflection.ts";
import { createRoutes } from "./routes.ts";
import { defaultServerLimits, maxHeaderBytes, maxHeaderCount, type ServerLimits } from "./server-limits.ts";

export interface ServerOptions {
  host: string;
  /** 0: any free port. */
  port: number;
  /** Absent: plaintext. */
  tls?: { certFile: string; keyFile: string } | undefined;
  /** Web pages that may call; "*" is all of them. */
  corsOrigins: readonly string[];
  /** Whose X-Forwarded-For is believed. */
  trustedProxies: BlockList;
  /** Calls at once, beyond which further ones are turned away; absent: there is no end. */
  maxCalls?: number | undefined;
  /** Our services: their policies are enforced, reflection and health tell of them. */
  services: readonly DescService[];
  /** Registers their implementations. */
  routes(router: ConnectRouter): void;
  /** Says who calls; absent: everyone may do everything. */
  authenticate: Authenticate | undefined;
  /** Holds callers to budgets; absent: nobody is held to any. */
  callLimits: CallLimits | undefined;
  /** The keys that access tokens are signed by; absent: there are none. */
  jwks?: (() => Promise<object>) | undefined;
  /** What keeps answers; absent: none is given twice. */
  cache: AnswerCache | undefined;
  /** How much memory kept answers may take besides, as the bytes that are sent. */
  encodedBytes: number;
  /** Whether calls can be answered now. */
  isReady(): Promise<Readiness>;
  log: Log;
  /** Smaller ones, for tests. */
  limits?: Partial<ServerLimits>;
}

export type { Server };

/**
 * One port that speaks gRPC, gRPC-Web and Connect over HTTP/1.1 and HTTP/2, with reflection and health.
 * @throws StartError for contracts with faulty policies and for certificates that cannot be used
 */
export function createServer(options: ServerOptions): Server {
  const limits = { ...defaultServerLimits, ...options.limits };
  const policies = readPolicies(options.services);
  const drain = new AbortController();
  const http2 = createHttp2(options.log);
  const http1 = createHttp1(limits);
  const readiness = createReadiness(options.isReady, drain.signal, options.log);
  const serviceNames = options.services.map((service) => service.typeName);
  const pages = createPages({ serviceNames, readiness, jwks: options.jwks });
  const cors = createCors(options.corsOrigins);
  const chain = createChain({ ...options, policies, limits: options.callLimits });
  const charge = async ({ values }: HandlerContext): Promise<void> => {
    const call = values.get(callKey);
    if (call !== undefined) await options.callLimits?.spend(call, reflectionPolicy);
  };
  const routes = createRoutes({
    routes: (router) => {
      options.routes(router);
      registerHealth(router, options.services, readiness, drain.signal);
      registerReflection(router, { services: options.services, charge, draining: drain.signal });
    },
    chain,
    policies,
    limits,
  });
  // Node makes requests and answers of streams, for what the lane does not take.
  const compatible = createHttp2Server();
  const sessions = new Http2Sessions(http2, limits, (stream, headers, flags, rawHeaders, peer) => {
    if (takeLane(new Http2Exchange(stream, headers, rawHeaders, peer))) return;
    compatible.emit("stream", stream, headers, flags, rawHeaders);
  });
  const { log, maxCalls = Number.POSITIVE_INFINITY, trustedProxies } = options;
  const calls = {
    routes,
    openCall: createOpenCall({ trustedProxies, limits, log }),
    shedder: createLoadShedder({ maxCalls, maxUntakenBytes: limits.maxUntakenBytes, log }),
    draining: drain.signal,
    log,
  };
  const takeLane = createUnaryFastPath({
    ...calls,
    gate: chain.gate,
    encode: createResponseEncoder(options.encodedBytes),
    corsHeaders: cors.headersFor,
  });
  const answerCall = createRpcListener({
    ...calls,
    peerOf: (request) =>
      "stream" in request ? sessions.peerOf(request.stream.session) : request.socket.remoteAddress,
  });
  const listener = (request: Request, response: Response): void => {
    request.on("error", ignore);
    response.on("error", ignore);
    if (drain.signal.aborted && isHttp1(response)) response.shouldKeepAlive = false;
    if (cors.answer(request, response) || answerCall(request, response)) return;
    pages(request, response);
  };
  compatible.on("request", listener);
  http1.on("request", (request, response) => {
    if (!takeLane(new Http1Exchange(request, response))) listener(request, response);
  });
  const port = createListener({
    tls: options.tls,
    http1: (socket) => http1.emit("connection", socket),
    http2: (socket) => http2.emit("connection", socket),
    limits,
  });
  return createLifecycle({
    address: { host: options.host, port: options.port, secure: options.tls !== undefined },
    port,
    http1,
    sessions,
    drain,
    log: options.log,
  });
}

/** What reflection would declare if it were ours. */
const reflectionPolicy = create(MethodPolicySchema, { rateLimit: { class: RateLimitClass.READ, cost: 1 } });

function createHttp1(limits: ServerLimits): Http1Server {
  // The longest call there is, and a little more.
  const longestMs = longestDeadlineMs + limits.bodyIdleMs;
  const server = createHttp1Server({
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: limits.headersMs,
    requestTimeout: longestMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: Math.min(5_000, limits.headersMs),
  });
  server.maxHeadersCount = maxHeaderCount;
  // A peer that neither reads nor writes for so long has gone.
  server.timeout = longestMs;
  // This server is handed its connections. It starts to watch their timeouts once it listens.
  server.emit("listening");
  return server;
}

function createHttp2(log: Log): Http2Server {
  const server = createHttp2Server({
    settings: { maxConcurrentStreams: 256, maxHeaderListSize: maxHeaderBytes },
    maxHeaderListPairs: maxHeaderCount,
    // Frames that only make work: a connection that sends more of them is ended.
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
    maxOutstandingPings: 10,
    maxSettings: 32,
    // A caller may reset 1,000 streams at once, and 100 a second from then on.
    streamResetBurst: 1_000,
    streamResetRate: 100,
  });
  server.on("sessionError", (error) => log.debug({ err: error }, "An HTTP/2 connection failed"));
  return server;
}

function ignore(): void {}
