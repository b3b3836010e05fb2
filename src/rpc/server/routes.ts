import { create, type DescMethod, type DescMethodUnary, isMessage, type Message } from "@bufbuild/protobuf";
import {
  type ConnectRouter,
  createConnectRouter,
  createServiceImplSpec,
  type HandlerContext,
  type Interceptor,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";
import type { MethodPolicy } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { callKey } from "../call/active-call.ts";
import type { Chain } from "../interceptors/chain.ts";
import { durationMs, isReadMethod, methodKey } from "../policy/method-policy.ts";
import { maxMessageBytes, type ServerLimits } from "./server-limits.ts";

/** One method as it is found by its path. */
export interface Route {
  /** Connect's way to the handler: every protocol, every form of it. */
  readonly handle: UniversalHandler;
  /** The short way, behind the gate; for unary methods with a policy. */
  readonly unary: Unary | undefined;
  readonly method: DescMethod;
  /** It has no side effects. */
  readonly mayGet: boolean;
  readonly policy: MethodPolicy | undefined;
  readonly defaultMs: number;
  readonly maxMs: number;
}

export interface Unary {
  readonly method: DescMethodUnary;
  /** Takes a call through the interceptors, to its handler if need be. @throws ConnectError */
  run(request: UnaryRequest): Promise<UnaryResponse>;
}

export interface RouteOptions {
  routes(router: ConnectRouter): void;
  chain: Chain;
  policies: ReadonlyMap<string, MethodPolicy>;
  limits: ServerLimits;
}

/** People who read JSON see every field, and are told when they misspell one. */
export const jsonOptions = { alwaysEmitImplicit: true, ignoreUnknownFields: false };

/** Every method, by its path. */
export function createRoutes({ routes, chain, policies, limits }: RouteOptions): ReadonlyMap<string, Route> {
  const router = createConnectRouter({
    interceptors: chain.interceptors,
    requestGate: chain.gate.forConnect,
    readMaxBytes: maxMessageBytes,
    writeMaxBytes: maxMessageBytes,
    acceptCompression: [compressionGzip],
    jsonOptions,
  });
  const unaries = new Map<DescMethod, Unary>();
  const recording: ConnectRouter = {
    handlers: router.handlers,
    service(service, implementation, options) {
      const interceptors = options?.interceptors ?? chain.interceptors;
      for (const spec of Object.values(createServiceImplSpec(service, implementation).methods)) {
        if (spec.kind === "unary") unaries.set(spec.method, createUnary(spec, interceptors));
      }
      router.service(service, implementation, options);
      return recording;
    },
    rpc(method, implementation, options) {
      router.rpc(method, implementation, options);
      return recording;
    },
  };
  routes(recording);
  return new Map(
    router.handlers.map((handle) => {
      const { method, requestPath } = handle;
      const policy = policies.get(methodKey(method));
      const plainMs = method.methodKind === "unary" ? limits.plainTimeoutMs : Number.POSITIVE_INFINITY;
      const defaultMs = policy === undefined ? plainMs : durationMs(policy.deadline?.default);
      const maxMs = policy === undefined ? plainMs : durationMs(policy.deadline?.max);
      const unary = policy === undefined ? undefined : unaries.get(method);
      const mayGet = isReadMethod(method);
      return [requestPath, { handle, unary, method, mayGet, policy, defaultMs, maxMs }];
    }),
  );
}

/** What the contract and the feature say of a unary method. */
interface UnarySpec {
  readonly method: DescMethodUnary;
  impl(request: Message, context: HandlerContext): unknown;
}

type AnyFn = ReturnType<Interceptor>;

function createUnary({ method, impl }: UnarySpec, interceptors: readonly Interceptor[]): Unary {
  const handler: AnyFn = async (request) => {
    if (request.stream) throw new TypeError(`${methodKey(method)} does not stream`);
    const [header, trailer] = [new Headers(), new Headers()];
    const answer = await impl(request.message, contextOf(request, header, trailer));
    const message = isMessage(answer, method.output) ? answer : create(method.output, Object(answer));
    return { stream: false, service: method.parent, method, header, trailer, message };
  };
  const chained = interceptors.reduceRight((next, interceptor) => interceptor(next), handler);
  return {
    method,
    async run(request) {
      const response = await chained(request);
      if (response.stream) throw new TypeError(`${methodKey(method)} does not stream`);
      return response;
    },
  };
}

/** What Connect tells a handler; times and callers are told by the call. */
function contextOf(request: UnaryRequest, responseHeader: Headers, responseTrailer: Headers): HandlerContext {
  const { method, service, signal, requestMethod, header, url, contextValues } = request;
  return {
    ...{ method, service, signal, requestMethod, url, responseHeader, responseTrailer },
    requestHeader: header,
    protocolName: contextValues.get(callKey)?.setup.protocol ?? "connect",
    values: contextValues,
    timeoutMs: () => undefined,
  };
}
