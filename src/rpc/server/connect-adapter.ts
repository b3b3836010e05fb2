import { createContextValues } from "@connectrpc/connect";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { Log } from "../../kernel/log.ts";
import type { ActiveCall } from "../call/active-call.ts";
import type { Admission } from "../call/admission.ts";
import { streamBody } from "../call/body-reader.ts";
import { callKey } from "../call/call-context.ts";
import type { OpenCall } from "../call/open-call.ts";
import type { ErrorTranslator } from "../errors/error-translator.ts";
import { abortHttp1Response, abortStream } from "../fast-path/exchange-abort.ts";
import { closeUnreadStream, drainRequest, receiveRest } from "../fast-path/http-exchange.ts";
import { contentHeaderNames, responseHeaders } from "../headers/response-headers.ts";
import { methodKey } from "../policy/method-policy.ts";
import { normalizeGrpcMessage } from "../protocol/grpc-status.ts";
import { isGrpcWebText, toBinaryRequest, toTextResponse } from "../protocol/grpc-web-text.ts";
import { requestPath } from "../protocol/request-path.ts";
import type { LoadShedder, Slot } from "./load-shedding/load-shedder.ts";
import { overloaded, overloadedError, overloadedResponse } from "./load-shedding/overloaded-response.ts";
import {
  isHttp1,
  keepConnectionOpen,
  type Request,
  type Response,
  sendResponse,
  sendText,
} from "./node-http.ts";
import type { Route } from "./routes.ts";
import { unsupportedResponse } from "./unsupported-response.ts";
import type { OpenWatches } from "./watches/open-watches.ts";

/** Dependencies of the Connect adapter. */
export interface ConnectAdapterOptions {
  routes: ReadonlyMap<string, Route>;
  openCall: OpenCall;
  /** Returns the address of a request's peer. */
  peerOf(request: Request): string | undefined;
  admission: Pick<Admission, "callerKey" | "chargeRejected">;
  errors: ErrorTranslator;
  loadShedder: LoadShedder;
  /** Bounds the concurrent calls without a deadline. */
  watchShedder: LoadShedder;
  watches: OpenWatches;
  /** The time after which the connection of a watch without traffic is probed, in milliseconds. */
  pingMs: number;
  /** Longest wait for the rest of a request before its early response, in milliseconds. */
  drainMs: number;
  /** Aborted when the server begins to stop. */
  draining: AbortSignal;
  log: Log;
}

/**
 * Creates the handler that passes calls of all three protocols to Connect. It replaces Connect's own Node adapter,
 * which lets a malformed Host header end the process and writes to the console.
 * @returns a function that returns whether the request is for a method of the server, and so is handled
 */
export function createConnectAdapter(
  options: ConnectAdapterOptions,
): (request: Request, response: Response) => boolean {
  const { routes, openCall, peerOf, admission, errors, watches, drainMs, draining, log } = options;

  /**
   * Yields the body of a call. The chunks of a call with a single request are held until it has arrived.
   * @throws ConnectError when such a call has lost its slot meanwhile
   */
  async function* withSlot(body: AsyncIterable<Uint8Array>, call: ActiveCall, slot: Slot, isSingle: boolean) {
    slot.startReceiving(admission.callerKey(call), () => call.lifetime.stop(overloaded));
    for await (const chunk of body) {
      if (isSingle) slot.addReceived(chunk.length);
      yield chunk;
    }
    if (isSingle && !slot.finishReceiving()) throw overloadedError;
  }

  const respond = async (
    route: Route,
    call: ActiveCall,
    slot: Slot | undefined,
    universal: UniversalServerRequest,
    body: RequestBody,
    request: Request,
    response: Response,
  ) => {
    try {
      const isText = isGrpcWebText(request.headers["content-type"]);
      const handled = isText
        ? toTextResponse(await route.handle(toBinaryRequest(universal)))
        : await route.handle(universal);
      if (route.method.methodKind === "unary") {
        const bytes = Number(handled.header?.get("content-length") ?? 0);
        slot?.startSending(bytes, () => abortResponse(response));
      }
      const result = withResponseHeaders(call, universal, handled, response);
      if (draining.aborted && isHttp1(response)) response.shouldKeepAlive = false;
      if (!isHttp1(response) && result.status === 200 && !body.isRead) {
        await receiveRest(request, request.headers["content-length"], drainMs);
      }
      const unsupported = unsupportedResponse(result.status, request, route, errors);
      if (unsupported !== undefined) {
        sendResponse(response, unsupported);
        return;
      }
      const sent = withGrpcMessage(endWithExchange(call, result, response));
      await universalResponseToNodeResponse(sent, response);
    } catch (error) {
      // A disconnect is the caller's decision, and not logged.
      if (!call.lifetime.isClosed) {
        log.warn({ method: methodKey(route.method), err: error }, "Response could not be sent");
      }
      abortResponse(response);
    }
  };

  return (request, response) => {
    const route = routes.get(requestPath(request.url ?? ""));
    if (route === undefined) return false;
    if ("stream" in request) request.stream.once("finish", () => closeUnreadStream(request.stream));
    else response.once("finish", () => drainRequest(request));
    const { headers, rawHeaders } = request;
    const abort = () => abortResponse(response);
    const call = openCall(route, { headers, rawHeaders, peer: peerOf(request), abort });
    // Health and reflection have no policy, and are served at the concurrency limit too.
    const needsSlot = route.policy !== undefined;
    const loadShedder = route.isWatch ? options.watchShedder : options.loadShedder;
    const slot = needsSlot ? loadShedder.acquire(request, admission.callerKey(call)) : undefined;
    response.once("close", () => {
      call.lifetime.close();
      slot?.release();
      watches.remove(call);
    });
    if (needsSlot && slot === undefined) {
      admission.chargeRejected(call);
      call.lifetime.finish();
      sendResponse(response, overloadedResponse(headers["content-type"]));
      return true;
    }
    let universal: UniversalServerRequest;
    try {
      const values = createContextValues().set(callKey, call);
      universal = universalRequestFromNodeRequest(request, response, undefined, values);
    } catch {
      sendText(response, 400, "text/plain", "The Host header is missing or malformed.\n");
      return true;
    }
    const body = trackReading(streamBody(call, request.iterator({ destroyOnReturn: false })));
    const { methodKind } = route.method;
    const isSingle = methodKind === "unary" || methodKind === "server_streaming";
    const content = slot === undefined ? body.chunks : withSlot(body.chunks, call, slot, isSingle);
    universal = { ...universal, body: content };
    if (route.isWatch) {
      keepConnectionOpen(request, options.pingMs);
      watches.add(call);
    }
    void respond(route, call, slot, universal, body, request, response);
    return true;
  };
}

/** The body of a request, and whether its handler is reading it. */
interface RequestBody {
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly isRead: boolean;
}

function trackReading(source: AsyncIterable<Uint8Array>): RequestBody {
  let isRead = false;
  async function* chunks() {
    isRead = true;
    try {
      yield* source;
    } finally {
      isRead = false;
    }
  }
  return {
    chunks: chunks(),
    get isRead() {
      return isRead;
    },
  };
}

/**
 * Sets the headers that state what interceptors recorded.
 * @returns the response to send, which may be 304 without a body
 */
function withResponseHeaders(
  call: ActiveCall,
  { method, header }: UniversalServerRequest,
  result: UniversalServerResponse,
  response: Response,
): UniversalServerResponse {
  const vary = response.getHeader("vary");
  const { headers, isNotModified } = responseHeaders(call, {
    isGet: method !== "POST",
    isOk: result.status === 200,
    ifNoneMatch: header.get("if-none-match") ?? undefined,
    vary: vary === undefined ? undefined : String(vary),
  });
  for (const [name, value] of headers) response.setHeader(name, value);
  if (!isNotModified) return result;
  const remaining = new Headers(result.header);
  for (const name of contentHeaderNames) remaining.delete(name);
  return { status: 304, header: remaining };
}

/** Returns a response whose gRPC error message every client decodes. */
function withGrpcMessage(response: UniversalServerResponse): UniversalServerResponse {
  const { trailer } = response;
  if (trailer === undefined) return response;
  return {
    ...response,
    // Read after the body: the trailers are complete only then.
    get trailer() {
      return new Headers(normalizeGrpcMessage(Object.fromEntries(trailer)));
    },
  };
}

/**
 * Returns a response whose body ends when its exchange is over. Connect's writer waits for a stream of HTTP/2 to drain
 * even after it was closed, and the handler would never end.
 */
function endWithExchange(
  { lifetime }: ActiveCall,
  result: UniversalServerResponse,
  response: Response,
): UniversalServerResponse {
  if (result.body === undefined) return result;
  const chunks = result.body[Symbol.asyncIterator]();
  const end = () => {
    chunks.return?.().catch(ignore);
  };
  if (lifetime.isClosed) end();
  else response.once("close", end);
  return { ...result, body: { [Symbol.asyncIterator]: () => chunks } };
}

function ignore(): void {}

/** Ends an exchange so that callers detect a partial response. */
function abortResponse(response: Response): void {
  if (isHttp1(response)) abortHttp1Response(response);
  else abortStream(response.stream);
}
