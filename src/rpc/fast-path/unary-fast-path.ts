import type { Message } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextValues,
  type UnaryRequest,
} from "@connectrpc/connect";
import type { Log } from "../../kernel/log.ts";
import type { ActiveCall } from "../call/active-call.ts";
import type { Admission } from "../call/admission.ts";
import { readBody } from "../call/body-reader.ts";
import { callKey } from "../call/call-context.ts";
import type { OpenCall } from "../call/open-call.ts";
import type { ErrorTranslator } from "../errors/error-translator.ts";
import { contentHeaderNames, responseHeaders } from "../headers/response-headers.ts";
import { methodKey } from "../policy/method-policy.ts";
import { requestPath } from "../protocol/request-path.ts";
import type { LoadShedder, Slot } from "../server/load-shedding/load-shedder.ts";
import { overloaded, overloadedResponse } from "../server/load-shedding/overloaded-response.ts";
import type { Route, UnaryRoute } from "../server/routes.ts";
import { assertUtf8Target } from "../validation/utf8.ts";
import type { HttpExchange, HttpResponse } from "./http-exchange.ts";
import { type RequestFormat, readRequestFormat } from "./request-format.ts";
import { maxEnvelopeBytes, readMessage } from "./request-message.ts";
import type { ResponseEncoder } from "./response-encoder.ts";
import { errorResponse, handleByConnect, headersOf, messageResponse, urlOf } from "./responses.ts";

/** Dependencies of the fast path. */
export interface UnaryFastPathOptions {
  routes: ReadonlyMap<string, Route>;
  openCall: OpenCall;
  admission: Admission;
  errors: ErrorTranslator;
  encode: ResponseEncoder;
  loadShedder: LoadShedder;
  /** The largest message of a request, in bytes. */
  maxRequestBytes: number;
  /** Returns the CORS headers of responses to an origin. */
  corsHeaders(origin: string | undefined): Readonly<Record<string, string>>;
  /** Aborted when the server begins to stop. */
  draining: AbortSignal;
  log: Log;
}

/**
 * Handles a request if it is a unary call in a common format.
 * @returns whether it did
 */
export type UnaryFastPath = (exchange: HttpExchange) => boolean;

const NO_BODY = Buffer.alloc(0);

/** A call on the fast path. */
interface FastCall {
  readonly route: Route;
  readonly unary: UnaryRoute;
  readonly format: RequestFormat;
  readonly exchange: HttpExchange;
  readonly call: ActiveCall;
  readonly slot: Slot;
}

/**
 * Creates the fast path for unary calls in their common formats, in all three protocols: about five times the calls a
 * second of Connect's stream layers. It runs the same admission and the same interceptors as the path through Connect,
 * which takes all other requests and creates the errors of malformed messages.
 */
export function createUnaryFastPath(options: UnaryFastPathOptions): UnaryFastPath {
  const { routes, openCall, admission, errors, encode, loadShedder, corsHeaders, draining, log } = options;
  const { maxRequestBytes } = options;
  const maxBareBytes = () => maxRequestBytes;
  const maxEnvelope = (firstChunk: Buffer) => maxEnvelopeBytes(firstChunk, maxRequestBytes);

  const readRequestBody = ({ format, exchange, call, slot }: FastCall): Promise<Buffer> => {
    const maxBytes = format.protocol === "connect" ? maxBareBytes : maxEnvelope;
    return readBody(call, exchange.body, maxBytes, (bytes) => slot.addReceived(bytes));
  };

  const run = async (fastCall: FastCall): Promise<HttpResponse> => {
    const { route, unary, format, exchange, call, slot } = fastCall;
    try {
      const { output } = unary.method;
      await admission.admit(call, route.method);
      slot.startReceiving(admission.callerKey(call), () => call.lifetime.stop(overloaded));
      const body = format.query === undefined ? await readRequestBody(fastCall) : NO_BODY;
      if (!slot.finishReceiving()) return overloadedResponse(exchange.headers["content-type"]);
      if (format.isJson && format.query !== undefined) assertUtf8Target(exchange.target);
      const message = readMessage(unary, format, body, exchange.headers, maxRequestBytes);
      const values = createContextValues().set(callKey, call);
      if (message === undefined) return await handleByConnect(route, exchange, call, values, body);
      const response = await unary.run(unaryRequest(fastCall, values, message));
      return await messageResponse(encode, output, response, format, call);
    } catch (error) {
      if (error instanceof ConnectError) {
        errors.complete(error);
        return errorResponse(error, format, call);
      }
      log.error({ method: methodKey(route.method), err: error }, "Response could not be encoded");
      return errorResponse(new ConnectError("internal error", Code.Internal), format, call);
    }
  };

  /** Returns the headers that all responses to a request have. */
  const commonHeaders = (exchange: HttpExchange): Record<string, string> => {
    const headers = { ...corsHeaders(exchange.headers.origin) };
    if (draining.aborted && exchange.httpVersion === "1.1") headers.connection = "close";
    return headers;
  };

  const handle = async (fastCall: FastCall): Promise<void> => {
    const { route, exchange, call, slot } = fastCall;
    try {
      const response = await run(fastCall);
      slot.startSending(response.body?.length ?? 0, () => exchange.abort());
      exchange.respond(withResponseHeaders(response, commonHeaders(exchange), fastCall));
    } catch (error) {
      if (!call.lifetime.isClosed) {
        log.warn({ method: methodKey(route.method), err: error }, "Response could not be sent");
      }
      exchange.abort();
    }
  };

  const reject = (exchange: HttpExchange, isGet: boolean): void => {
    const response = overloadedResponse(exchange.headers["content-type"]);
    const headers = Object.assign(commonHeaders(exchange), response.headers);
    if (isGet) headers["cache-control"] = "no-store";
    exchange.respond({ status: response.status, headers, body: response.body });
  };

  return (exchange) => {
    const route = routes.get(requestPath(exchange.target));
    if (route?.unary === undefined) return false;
    const format = readRequestFormat(exchange, route.isGetAllowed, maxRequestBytes);
    if (format === undefined) return false;
    const call = openCall(route, exchange);
    const slot = loadShedder.acquire(exchange, admission.callerKey(call));
    exchange.onClose(() => {
      call.lifetime.close();
      slot?.release();
    });
    if (slot === undefined) {
      admission.chargeRejected(call);
      call.lifetime.finish();
      reject(exchange, format.query !== undefined);
    } else void handle({ route, unary: route.unary, format, exchange, call, slot });
    return true;
  };
}

/** Returns the request as interceptors and handlers see it. Few of them read the URL or headers, which cost time. */
function unaryRequest(
  { unary, exchange, call }: FastCall,
  contextValues: ContextValues,
  message: Message,
): UnaryRequest {
  const { method } = unary;
  return {
    stream: false,
    service: method.parent,
    method,
    requestMethod: exchange.method,
    contextValues,
    message,
    get url() {
      return urlOf(exchange);
    },
    get header() {
      return headersOf(exchange);
    },
    get signal() {
      return call.signal;
    },
  };
}

/** Returns a response with all of its headers; 304 without a body when the caller has the content already. */
function withResponseHeaders(
  response: HttpResponse,
  headers: Record<string, string>,
  { format, exchange, call }: FastCall,
): HttpResponse {
  Object.assign(headers, response.headers);
  const added = responseHeaders(call, {
    isGet: format.query !== undefined,
    isOk: response.status === 200,
    ifNoneMatch: exchange.headers["if-none-match"],
    vary: headers.vary,
  });
  for (const [name, value] of added.headers) headers[name] = value;
  if (added.isNotModified) {
    for (const name of contentHeaderNames) delete headers[name];
    return { status: 304, headers };
  }
  return { status: response.status, headers, body: response.body, trailers: response.trailers };
}
