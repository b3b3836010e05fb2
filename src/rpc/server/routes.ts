import { create, type DescMethod, type DescMethodUnary, isMessage, type Message } from "@bufbuild/protobuf";
import {
  type ConnectRouter,
  createMethodImplSpec,
  createServiceImplSpec,
  type HandlerContext,
  type Interceptor,
  type MethodImplSpec,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import {
  createUniversalMethodHandler,
  type UniversalHandler,
  type UniversalHandlerOptions,
} from "@connectrpc/connect/protocol";
import { createHandlerFactory as createConnectFactory } from "@connectrpc/connect/protocol-connect";
import { createHandlerFactory as createGrpcFactory } from "@connectrpc/connect/protocol-grpc";
import { createHandlerFactory as createGrpcWebFactory } from "@connectrpc/connect/protocol-grpc-web";
import { compressionGzip } from "@connectrpc/connect-node";
import type { MethodPolicy } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { callKey } from "../call/call-context.ts";
import { durationMs, isReadMethod, methodKey } from "../policy/method-policy.ts";
import type { JsonOptions } from "../protocol/json-options.ts";
import { createJsonReader, type JsonReader } from "../validation/json-reader.ts";
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
  /** Whether calls have no deadline unless their caller sets one. */
  readonly isWatch: boolean;
}

/** A unary method without Connect's stream layers. */
export interface UnaryRoute {
  readonly method: DescMethodUnary;
  readonly json: JsonReader;
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
  jsonOptions: JsonOptions;
  limits: ServerLimits;
}

/** Creates the routes of all methods, by path. */
export function createRoutes(options: RoutesOptions): ReadonlyMap<string, Route> {
  const { register, chain, policies, jsonOptions, limits } = options;
  const handlerOptions: Partial<UniversalHandlerOptions> = {
    interceptors: chain.interceptors,
    requestGate: chain.admission.admitConnect,
    readMaxBytes: limits.maxRequestBytes,
    writeMaxBytes: MAX_MESSAGE_BYTES,
    acceptCompression: [compressionGzip],
  };
  const routes = new Map<string, Route>();
  const addMethod = (spec: MethodImplSpec, options: Partial<UniversalHandlerOptions> = {}) => {
    const { method } = spec;
    const json = createJsonReader(method.input, jsonOptions);
    const handle = createHandler(spec, {
      ...handlerOptions,
      ...options,
      // Connect decodes the text of every JSON message by this option, whatever the protocol and the compression.
      jsonOptions: Object.assign({ textDecoder: json }, jsonOptions),
    });
    const policy = policies.get(methodKey(method));
    const interceptors = options.interceptors ?? chain.interceptors;
    routes.set(handle.requestPath, {
      handle,
      unary:
        policy === undefined || spec.kind !== "unary"
          ? undefined
          : createUnaryRoute(spec, interceptors, json),
      method,
      isGetAllowed: isReadMethod(method),
      policy,
      isWatch: policy?.deadline?.unlimited === true,
      ...timeoutsOf(method, policy, limits),
    });
  };
  const router: ConnectRouter = {
    handlers: [],
    service(service, implementation, options) {
      const { methods } = createServiceImplSpec(service, implementation);
      for (const spec of Object.values(methods)) addMethod(spec, options);
      return router;
    },
    rpc(method, implementation, options) {
      addMethod(createMethodImplSpec(method, implementation), options);
      return router;
    },
  };
  register(router);
  return routes;
}

/** Returns Connect's handler of a method for all three protocols. */
function createHandler(spec: MethodImplSpec, options: Partial<UniversalHandlerOptions>): UniversalHandler {
  const factories = [createGrpcFactory, createGrpcWebFactory, createConnectFactory];
  return createUniversalMethodHandler(
    spec,
    factories.map((createFactory) => createFactory(options)),
  );
}

function timeoutsOf(
  method: DescMethod,
  policy: MethodPolicy | undefined,
  limits: ServerLimits,
): Pick<Route, "defaultTimeoutMs" | "maxTimeoutMs"> {
  if (policy?.deadline?.unlimited === true) {
    return { defaultTimeoutMs: Number.POSITIVE_INFINITY, maxTimeoutMs: Number.POSITIVE_INFINITY };
  }
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

function createUnaryRoute(
  { method, impl }: UnarySpec,
  interceptors: readonly Interceptor[],
  json: JsonReader,
): UnaryRoute {
  const handler: Next = async (request) => {
    assertUnary(request);
    const header = new Headers();
    const trailer = new Headers();
    const call = request.contextValues.get(callKey);
    if (call !== undefined) call.responseMetadata.handler = { header, trailer };
    const result = await impl(request.message, handlerContext(request, header, trailer));
    const message = isMessage(result, method.output) ? result : create(method.output, Object(result));
    return { stream: false, service: method.parent, method, header, trailer, message };
  };
  const chained = interceptors.reduceRight((next, interceptor) => interceptor(next), handler);
  return {
    method,
    json,
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
