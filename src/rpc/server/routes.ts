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
import { callKey } from "../call/call-context.ts";
import { durationMs, isReadMethod, methodKey } from "../policy/method-policy.ts";
import { jsonOptions } from "../protocol/json-options.ts";
import type { InterceptorChain } from "./interceptor-chain.ts";
import { MAX_MESSAGE_BYTES, type ServerLimits } from "./server-limits.ts";

/** The handlers and the policy of a method. */
export interface Route {
  /** Connect's handler, for every protocol and format. */
  readonly handle: UniversalHandler;
  /** The fast path behind admission, for unary methods with a policy. */
  readonly unary: UnaryRoute | undefined;
  readonly method: DescMethod;
  /** Whether the method has no side effects. */
  readonly isGetAllowed: boolean;
  readonly policy: MethodPolicy | undefined;
  /** The timeout of callers who set none, and the longest that they may set, in milliseconds. */
  readonly defaultTimeoutMs: number;
  readonly maxTimeoutMs: number;
}

/** A unary method without Connect's stream layers. */
export interface UnaryRoute {
  readonly method: DescMethodUnary;
  /**
   * Runs the interceptors and the handler.
   * @throws ConnectError
   */
  run(request: UnaryRequest): Promise<UnaryResponse>;
}

/** Dependencies of the routes. */
export interface RoutesOptions {
  /** Registers the implementations of the services. */
  register(router: ConnectRouter): void;
  chain: InterceptorChain;
  policies: ReadonlyMap<string, MethodPolicy>;
  limits: ServerLimits;
}

/** Creates the routes of all methods, by path. */
export function createRoutes(options: RoutesOptions): ReadonlyMap<string, Route> {
  const { register, chain, policies, limits } = options;
  const router = createConnectRouter({
    interceptors: chain.interceptors,
    requestGate: chain.admission.admitConnect,
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
    acceptCompression: [compressionGzip],
    jsonOptions,
  });
  const unaryRoutes = new Map<DescMethod, UnaryRoute>();
  const recordingRouter: ConnectRouter = {
    handlers: router.handlers,
    service(service, implementation, options) {
      const interceptors = options?.interceptors ?? chain.interceptors;
      for (const spec of Object.values(createServiceImplSpec(service, implementation).methods)) {
        if (spec.kind === "unary") unaryRoutes.set(spec.method, createUnaryRoute(spec, interceptors));
      }
      router.service(service, implementation, options);
      return recordingRouter;
    },
    rpc(method, implementation, options) {
      router.rpc(method, implementation, options);
      return recordingRouter;
    },
  };
  register(recordingRouter);
  return new Map(
    router.handlers.map((handle) => {
      const { method } = handle;
      const policy = policies.get(methodKey(method));
      return [
        handle.requestPath,
        {
          handle,
          unary: policy === undefined ? undefined : unaryRoutes.get(method),
          method,
          isGetAllowed: isReadMethod(method),
          policy,
          ...timeoutsOf(method, policy, limits),
        },
      ];
    }),
  );
}

function timeoutsOf(
  method: DescMethod,
  policy: MethodPolicy | undefined,
  limits: ServerLimits,
): Pick<Route, "defaultTimeoutMs" | "maxTimeoutMs"> {
  if (policy === undefined) {
    const timeoutMs = method.methodKind === "unary" ? limits.standardTimeoutMs : Number.POSITIVE_INFINITY;
    return { defaultTimeoutMs: timeoutMs, maxTimeoutMs: timeoutMs };
  }
  return {
    defaultTimeoutMs: durationMs(policy.deadline?.default),
    maxTimeoutMs: durationMs(policy.deadline?.max),
  };
}

/** The contract and the implementation of a unary method. */
interface UnarySpec {
  readonly method: DescMethodUnary;
  impl(request: Message, context: HandlerContext): unknown;
}

type Next = ReturnType<Interceptor>;

function createUnaryRoute({ method, impl }: UnarySpec, interceptors: readonly Interceptor[]): UnaryRoute {
  const handler: Next = async (request) => {
    assertUnary(request);
    const header = new Headers();
    const trailer = new Headers();
    const result = await impl(request.message, handlerContext(request, header, trailer));
    const message = isMessage(result, method.output) ? result : create(method.output, Object(result));
    return { stream: false, service: method.parent, method, header, trailer, message };
  };
  const chained = interceptors.reduceRight((next, interceptor) => interceptor(next), handler);
  return {
    method,
    async run(request) {
      const response = await chained(request);
      assertUnary(response);
      return response;
    },
  };
}

function assertUnary<T extends { stream: boolean; method: DescMethod }>(
  value: T,
): asserts value is T & { stream: false } {
  if (value.stream) throw new TypeError(`${methodKey(value.method)} is unary, but streams`);
}

/** Returns the context that Connect would pass to a handler. The call states deadline and caller. */
function handlerContext(
  request: UnaryRequest,
  responseHeader: Headers,
  responseTrailer: Headers,
): HandlerContext {
  return {
    method: request.method,
    service: request.service,
    signal: request.signal,
    requestMethod: request.requestMethod,
    requestHeader: request.header,
    url: request.url,
    responseHeader,
    responseTrailer,
    protocolName: request.contextValues.get(callKey)?.setup.protocol ?? "connect",
    values: request.contextValues,
    timeoutMs: () => undefined,
  };
}
