import { createServer as createHttp2CompatServer } from "node:http2";
import type { Log } from "../../kernel/log.ts";
import type { Admission } from "../call/admission.ts";
import type { OpenCall } from "../call/open-call.ts";
import type { ErrorTranslator } from "../errors/error-translator.ts";
import { Http1Exchange, Http2Exchange } from "../fast-path/http-exchange.ts";
import { createResponseEncoder } from "../fast-path/response-encoder.ts";
import { createUnaryFastPath } from "../fast-path/unary-fast-path.ts";
import type { Cors } from "../headers/cors.ts";
import type { JsonOptions } from "../protocol/json-options.ts";
import { createConnectAdapter } from "./connect-adapter.ts";
import type { HttpHandlers } from "./connections/connection.ts";
import type { LoadShedder } from "./load-shedding/load-shedder.ts";
import { isHttp1, type Request, type Response } from "./node-http.ts";
import type { Route } from "./routes.ts";
import type { ServerLimits } from "./server-limits.ts";
import type { OpenWatches } from "./watches/open-watches.ts";

/** Dependencies of the HTTP handlers. */
export interface HttpHandlersOptions {
  routes: ReadonlyMap<string, Route>;
  admission: Admission;
  errors: ErrorTranslator;
  openCall: OpenCall;
  loadShedder: LoadShedder;
  /** Bounds the concurrent calls without a deadline. */
  watchShedder: LoadShedder;
  watches: OpenWatches;
  cors: Cors;
  /** Handles requests that are not calls. */
  handlePage(request: Request, response: Response): void;
  /** Returns the address of a request's peer. */
  peerOf(request: Request): string | undefined;
  limits: Pick<ServerLimits, "maxRequestBytes" | "drainMs" | "pingMs">;
  /** The memory for the encodings of cached responses, in bytes. */
  encodedBytes: number;
  jsonOptions: JsonOptions;
  /** Aborted when the server begins to stop. */
  draining: AbortSignal;
  log: Log;
}

/**
 * Creates the handlers. A request goes to the fast path, or else to Connect, or else to the pages; CORS comes before
 * the latter two, and the fast path has its headers too.
 */
export function createHttpHandlers(options: HttpHandlersOptions): HttpHandlers {
  const { routes, openCall, admission, loadShedder, limits, cors, handlePage, peerOf, draining, log } =
    options;
  const handleUnary = createUnaryFastPath({
    routes,
    openCall,
    admission,
    errors: options.errors,
    encode: createResponseEncoder(options.encodedBytes, options.jsonOptions),
    loadShedder,
    maxRequestBytes: limits.maxRequestBytes,
    corsHeaders: cors.headersFor,
    draining,
    log,
  });
  const handleByConnect = createConnectAdapter({
    routes,
    openCall,
    peerOf,
    admission,
    errors: options.errors,
    loadShedder,
    watchShedder: options.watchShedder,
    watches: options.watches,
    pingMs: limits.pingMs,
    drainMs: limits.drainMs,
    draining,
    log,
  });
  const handle = (request: Request, response: Response): void => {
    request.on("error", ignore);
    response.on("error", ignore);
    if (draining.aborted && isHttp1(response)) response.shouldKeepAlive = false;
    if (cors.handle(request, response) || handleByConnect(request, response)) return;
    handlePage(request, response);
  };
  const { onHttp1Request, onHttp2Stream } = createRequestHandlers(handle);
  return {
    onHttp1Request(request, response) {
      if (!handleUnary(new Http1Exchange(request, response))) onHttp1Request(request, response);
    },
    onHttp2Stream(stream, headers, flags, rawHeaders, peer) {
      if (handleUnary(new Http2Exchange(stream, headers, rawHeaders, peer, limits.drainMs))) return;
      onHttp2Stream(stream, headers, flags, rawHeaders, peer);
    },
  };
}

/** Creates handlers that turn streams of HTTP/2 into Node's requests and responses. */
export function createRequestHandlers(handle: (request: Request, response: Response) => void): HttpHandlers {
  const http2Compat = createHttp2CompatServer(handle);
  return {
    onHttp1Request: handle,
    onHttp2Stream(stream, headers, flags, rawHeaders) {
      http2Compat.emit("stream", stream, headers, flags, rawHeaders);
    },
  };
}

function ignore(): void {}
