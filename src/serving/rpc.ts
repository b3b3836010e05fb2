import type { IncomingMessage } from "node:http";
import { constants, type Http2ServerRequest } from "node:http2";
import { BlockList } from "node:net";
import type { DescMethod } from "@bufbuild/protobuf";
import { type ConnectRouter, createConnectRouter, createContextValues } from "@connectrpc/connect";
import type {
  UniversalHandler,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import {
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type { MethodPolicy } from "../../gen/cartwright/policy/v1/policy_pb.ts";
import { ActiveCall, type CallSetup, callKey } from "../interceptors/call.ts";
import type { Chain } from "../interceptors/chain.ts";
import { durationMs, methodKey } from "../interceptors/policy.ts";
import type { Log } from "../kernel/log.ts";
import { clientAddressOf } from "./client-address.ts";
import { isHttp1, pathOf, type Request, type Response, send } from "./http.ts";
import { tellCaches } from "./http-cache.ts";
import { tellLimits } from "./http-limits.ts";
import { type Limits, maxMessageBytes } from "./limits.ts";
import { refuseBusy, type Shedder } from "./shed.ts";
import { takeTimeout } from "./timeout.ts";

/** A reset overtakes what is queued before it: an answer needs this long to be on its way. */
const lingerMs = 1_000;

export interface RpcOptions {
  routes(router: ConnectRouter): void;
  chain: Chain;
  policies: ReadonlyMap<string, MethodPolicy>;
  trustedProxies: BlockList;
  /** The address at the other end of a request's connection. */
  peerOf(request: Request): string | undefined;
  shedder: Shedder;
  draining: AbortSignal;
  limits: Limits;
  log: Log;
}

/** One method as it is found by its path. */
interface Route {
  handle: UniversalHandler;
  method: DescMethod;
  policy: MethodPolicy | undefined;
  defaultMs: number;
  maxMs: number;
}

/**
 * Answers calls in all three protocols, by Connect. Its own Node adapter is not used for it lets a request
 * with a broken Host header end the process, and writes to the console.
 * @returns a function that is true when the request is for a method of ours
 */
export function createRpcListener(options: RpcOptions): (request: Request, response: Response) => boolean {
  const { limits, log, shedder } = options;
  const routes = createRoutes(options);

  const none = new BlockList();
  let hasToldOfProxy = false;
  const addressOf = (request: Request): string => {
    const peer = options.peerOf(request);
    const forwardedFor = request.headers["x-forwarded-for"];
    const address = clientAddressOf(peer, forwardedFor, options.trustedProxies);
    if (forwardedFor !== undefined && !hasToldOfProxy && address === clientAddressOf(peer, undefined, none)) {
      hasToldOfProxy = true;
      log.info(
        { peer },
        "X-Forwarded-For is not believed from here: if this is a proxy of yours, name it in TRUSTED_PROXIES",
      );
    }
    return address;
  };

  const setUp = (route: Route, request: Request, response: Response): CallSetup => {
    const type = request.headers["content-type"] ?? "";
    const grpc = type.startsWith("application/grpc");
    const askedMs = takeTimeout(request.headers, grpc);
    return {
      protocol: !grpc ? "connect" : type.startsWith("application/grpc-web") ? "grpc-web" : "grpc",
      clientAddress: addressOf(request),
      userAgent: (request.headers["user-agent"] ?? "").slice(0, 200),
      policy: route.policy,
      timeoutMs: askedMs === undefined ? route.defaultMs : Math.min(askedMs, route.maxMs),
      bodyIdleMs: limits.bodyIdleMs,
      deliveryMs: limits.deliveryMs,
      settleMs: limits.settleMs,
      cut: () => cut(response),
    };
  };

  const respond = async (
    route: Route,
    call: ActiveCall,
    universal: UniversalServerRequest,
    response: Response,
  ) => {
    try {
      const made = await route.handle(universal);
      tellLimits(call, response);
      const answer = tellCaches(call, universal, made, response);
      if (options.draining.aborted && isHttp1(response)) response.shouldKeepAlive = false;
      if (answer.status === 405) response.setHeader("allow", route.handle.allowedMethods.join(", "));
      await universalResponseToNodeResponse(legible(answer), response);
    } catch (error) {
      // A caller who left is nothing to report.
      if (!call.closed) log.warn({ method: methodKey(route.method), err: error }, "An answer was not sent");
      cut(response);
    }
  };

  return (request, response) => {
    const route = routes.get(pathOf(request));
    if (route === undefined) return false;
    if ("stream" in request) request.stream.once("finish", () => releaseStream(request));
    else response.once("finish", () => releaseRequest(request));
    // Probes and reflection have no policy, and must be answered when there is no room as well.
    const isBounded = route.policy !== undefined;
    if (isBounded && !shedder.enter(request)) {
      refuseBusy(request, response);
      return true;
    }
    const call = new ActiveCall(setUp(route, request, response));
    response.once("close", () => {
      call.close();
      if (isBounded) shedder.leave(request);
    });
    let universal: UniversalServerRequest;
    try {
      const values = createContextValues().set(callKey, call);
      universal = universalRequestFromNodeRequest(request, response, undefined, values);
    } catch {
      // No authority, or one that is none.
      send(response, 400, "text/plain", "The Host header is missing or malformed.\n");
      return true;
    }
    const body = call.body(request.iterator({ destroyOnReturn: false }));
    void respond(route, call, { ...universal, body }, response);
    return true;
  };
}

function createRoutes({ routes, chain, policies, limits }: RpcOptions): ReadonlyMap<string, Route> {
  const router = createConnectRouter({
    interceptors: chain.interceptors,
    requestGate: chain.gate,
    readMaxBytes: maxMessageBytes,
    writeMaxBytes: maxMessageBytes,
    acceptCompression: [compressionGzip],
    // People who read JSON see every field, and are told when they misspell one.
    jsonOptions: { alwaysEmitImplicit: true, ignoreUnknownFields: false },
  });
  routes(router);
  return new Map(
    router.handlers.map((handle) => {
      const { method, requestPath } = handle;
      const policy = policies.get(methodKey(method));
      const plainMs = method.methodKind === "unary" ? limits.plainTimeoutMs : Number.POSITIVE_INFINITY;
      const defaultMs = policy === undefined ? plainMs : durationMs(policy.deadline?.default);
      const maxMs = policy === undefined ? plainMs : durationMs(policy.deadline?.max);
      return [requestPath, { handle, method, policy, defaultMs, maxMs }];
    }),
  );
}

/**
 * Writes gRPC's message of an error such that every client can read it. Connect escapes more than the
 * protocol asks for, and @grpc/grpc-js undoes less than that: its users would see "id%3A must be".
 */
function legible(answer: UniversalServerResponse): UniversalServerResponse {
  const { trailer } = answer;
  if (trailer === undefined) return answer;
  return {
    ...answer,
    // Asked for once the body is written, which is when it is complete.
    get trailer() {
      const message = trailer.get("grpc-message");
      if (message !== null) trailer.set("grpc-message", encodeURI(decodeURIComponent(message)));
      return trailer;
    },
  };
}

/** Ends an exchange such that a part of an answer does not pass for the whole. */
function cut(response: Response): void {
  if (isHttp1(response)) response.destroy();
  else response.stream.close(constants.NGHTTP2_CANCEL);
}

/** Takes the rest of a request that is answered already off its connection, so that the next can come. */
function releaseRequest(request: IncomingMessage): void {
  if (!request.complete) request.resume();
}

/** Ends a stream that is answered before all of it has come, once the caller can have read the answer. */
function releaseStream({ complete, stream }: Http2ServerRequest): void {
  if (!complete && !stream.endAfterHeaders) {
    setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), lingerMs).unref();
  }
}
