import { constants } from "node:http2";
import { createContextValues } from "@connectrpc/connect";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { Log } from "../../kernel/log.ts";
import { type ActiveCall, callKey } from "../call/active-call.ts";
import type { OpenCall } from "../call/open-call.ts";
import { type HttpResponse, releaseRequest, releaseStream } from "../fast-path/http-exchange.ts";
import { decodeGrpcMessage } from "../fast-path/responses.ts";
import { cacheHeadersOf } from "../headers/cache-headers.ts";
import { limitHeadersOf } from "../headers/rate-limit-headers.ts";
import { methodKey } from "../policy/method-policy.ts";
import { utf8Only } from "../validation/utf8.ts";
import { isHttp1, pathOf, type Request, type Response, send } from "./http-pages.ts";
import { busy, busyReply, type LoadShedder } from "./load-shedder.ts";
import type { Route } from "./routes.ts";

export interface RpcOptions {
  routes: ReadonlyMap<string, Route>;
  openCall: OpenCall;
  /** The address at the other end of a request's connection. */
  peerOf(request: Request): string | undefined;
  shedder: LoadShedder;
  draining: AbortSignal;
  log: Log;
}

/**
 * Answers calls in all three protocols, by Connect. Its own Node adapter is not used for it lets a request
 * with a broken Host header end the process, and writes to the console.
 * @returns a function that is true when the request is for a method of ours
 */
export function createRpcListener(options: RpcOptions): (request: Request, response: Response) => boolean {
  const { routes, openCall, log, shedder } = options;

  /** The body of a call, which may have lost its place when all of it has come. @throws ConnectError then */
  async function* arriving(body: AsyncIterable<Uint8Array>, request: Request, isUnary: boolean) {
    shedder.expect(request);
    yield* body;
    if (isUnary && !shedder.arrive(request)) throw busy;
  }

  const respond = async (
    route: Route,
    call: ActiveCall,
    universal: UniversalServerRequest,
    request: Request,
    response: Response,
  ) => {
    try {
      const made = await route.handle(universal);
      if (route.method.methodKind === "unary") {
        const bytes = Number(made.header?.get("content-length") ?? 0);
        shedder.finish(request, bytes, () => cut(response));
      }
      for (const [name, value] of limitHeadersOf(call)) response.setHeader(name, value);
      const answer = tellCaches(call, universal, made, response);
      if (options.draining.aborted && isHttp1(response)) response.shouldKeepAlive = false;
      if (answer.status === 405) response.setHeader("allow", route.handle.allowedMethods.join(", "));
      await universalResponseToNodeResponse(withLegible(answer), response);
    } catch (error) {
      // A caller who left is nothing to report.
      if (!call.closed) log.warn({ method: methodKey(route.method), err: error }, "An answer was not sent");
      cut(response);
    }
  };

  return (request, response) => {
    const route = routes.get(pathOf(request));
    if (route === undefined) return false;
    if ("stream" in request) request.stream.once("finish", () => releaseStream(request.stream));
    else response.once("finish", () => releaseRequest(request));
    // Probes and reflection have no policy, and must be answered when there is no room as well.
    const isBounded = route.policy !== undefined;
    if (isBounded && !shedder.enter(request)) {
      sendReply(response, busyReply(request.headers["content-type"]));
      return true;
    }
    const { headers, rawHeaders } = request;
    const arrival = { headers, rawHeaders, peer: options.peerOf(request), cut: () => cut(response) };
    const call = openCall(route, arrival);
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
    const bytes = call.body(request.iterator({ destroyOnReturn: false }));
    const body = isPlainJson(headers) ? utf8Only(bytes) : bytes;
    const isUnary = route.method.methodKind === "unary";
    const counted = isBounded ? arriving(body, request, isUnary) : body;
    void respond(route, call, { ...universal, body: counted }, request, response);
    return true;
  };
}

/** Whether a body is one JSON message, which can be looked at as it comes. */
function isPlainJson({ "content-type": type, "content-encoding": encoding }: Request["headers"]): boolean {
  return (encoding === undefined || encoding === "identity") && /^application\/json\b/i.test(type ?? "");
}

/** Adds what our cache and those of HTTP are to know. @returns what is to be sent: the answer, or 304 without it */
function tellCaches(
  call: ActiveCall,
  { method, header }: UniversalServerRequest,
  answer: UniversalServerResponse,
  response: Response,
): UniversalServerResponse {
  const before = response.getHeader("vary");
  const vary = before === undefined ? undefined : String(before);
  const told = cacheHeadersOf(call, {
    isGet: method !== "POST",
    isOk: answer.status === 200,
    ifNoneMatch: header.get("if-none-match") ?? undefined,
    vary,
  });
  for (const [name, value] of told.headers) response.setHeader(name, value);
  if (!told.isNotModified) return answer;
  // What describes the body that is not sent is not for the body that the caller has.
  const kept = new Headers(answer.header);
  for (const name of ["content-type", "content-length", "content-encoding"]) kept.delete(name);
  return { status: 304, header: kept };
}

/** Writes errors of gRPC such that every client can read them. */
function withLegible(answer: UniversalServerResponse): UniversalServerResponse {
  const { trailer } = answer;
  if (trailer === undefined) return answer;
  return {
    ...answer,
    // Asked for once the body is written, which is when it is complete.
    get trailer() {
      return new Headers(decodeGrpcMessage(Object.fromEntries(trailer)));
    },
  };
}

function sendReply(response: Response, { status, headers, body }: HttpResponse): void {
  response.statusCode = status;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (body === undefined) response.end();
  else response.end(body);
}

/** Ends an exchange such that a part of an answer does not pass for the whole. */
function cut(response: Response): void {
  if (isHttp1(response)) response.destroy();
  else response.stream.close(constants.NGHTTP2_CANCEL);
}
