import type { Message } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextValues,
  type UnaryRequest,
} from "@connectrpc/connect";
import type { Log } from "../../kernel/log.ts";
import { type ActiveCall, callKey } from "../call/active-call.ts";
import type { Admission } from "../call/admission.ts";
import type { OpenCall } from "../call/open-call.ts";
import { completeError } from "../errors/complete-errors.ts";
import { cacheHeadersOf } from "../headers/cache-headers.ts";
import { limitHeadersOf } from "../headers/rate-limit-headers.ts";
import { methodKey } from "../policy/method-policy.ts";
import { busyReply, type LoadShedder } from "../server/load-shedder.ts";
import type { Route, Unary } from "../server/routes.ts";
import { maxMessageBytes } from "../server/server-limits.ts";
import { assertUtf8Query } from "../validation/utf8.ts";
import type { HttpExchange, HttpResponse } from "./http-exchange.ts";
import { type RequestFormat, readRequestFormat } from "./request-format.ts";
import { frameBytes, messageOf } from "./request-message.ts";
import type { ResponseEncoder } from "./response-encoder.ts";
import { errorReply, headerOf, messageReply, universalReply, urlOf } from "./responses.ts";

export interface UnaryFastPathOptions {
  routes: ReadonlyMap<string, Route>;
  openCall: OpenCall;
  gate: Admission;
  encode: ResponseEncoder;
  shedder: LoadShedder;
  /** What CORS says to callers from there. */
  corsHeaders(origin: string | undefined): Readonly<Record<string, string>>;
  draining: AbortSignal;
  log: Log;
}

/** Takes a request if it is one for the lane. @returns whether it did */
export type UnaryFastPath = (exchange: HttpExchange) => boolean;

/** A call on the lane. */
interface Taken {
  readonly route: Route;
  readonly unary: Unary;
  readonly form: RequestFormat;
  readonly exchange: HttpExchange;
  readonly call: ActiveCall;
}

/**
 * The short way for unary calls in their usual form, in all three protocols. It passes the same gate and the same
 * interceptors as the long way by Connect, which takes everything else, and is asked about messages that cannot
 * be read. What it leaves out is what makes calls of all kinds look the same: streams of bytes within streams.
 */
export function createUnaryFastPath(options: UnaryFastPathOptions): UnaryFastPath {
  const { routes, openCall, gate, encode, shedder, corsHeaders, draining, log } = options;

  const answer = async (taken: Taken): Promise<HttpResponse> => {
    const { route, unary, form, exchange, call } = taken;
    try {
      const { input, output } = unary.method;
      await gate.enter(call, route.method);
      const bound = form.protocol === "connect" ? () => maxMessageBytes : frameBytes;
      shedder.expect(exchange);
      const body = form.query === undefined ? await call.gather(exchange.body, bound) : NOTHING;
      if (!shedder.arrive(exchange)) return busyReply(exchange.headers["content-type"]);
      if (form.isJson && form.query !== undefined) assertUtf8Query(exchange.target);
      const message = messageOf(input, form, body, exchange.headers);
      const values = createContextValues().set(callKey, call);
      if (message === undefined) return await universalReply(route, exchange, call, values, body);
      const response = await unary.run(requestOf(taken, values, message));
      return await messageReply(encode, output, response, form, call);
    } catch (error) {
      if (error instanceof ConnectError) {
        completeError(error);
        return errorReply(error, form);
      }
      log.error({ method: methodKey(route.method), err: error }, "An answer could not be written");
      return errorReply(new ConnectError("internal error", Code.Internal), form);
    }
  };

  const withCors = (exchange: HttpExchange, reply: HttpResponse): HttpResponse => ({
    ...reply,
    headers: { ...corsHeaders(exchange.headers.origin), ...reply.headers },
  });
  const send = (exchange: HttpExchange, reply: HttpResponse): void => {
    const last = draining.aborted && exchange.httpVersion === "1.1";
    exchange.reply(last ? { ...reply, headers: { ...reply.headers, connection: "close" } } : reply);
  };

  const take = async (taken: Taken): Promise<void> => {
    const { route, form, exchange, call } = taken;
    try {
      const reply = await answer(taken);
      shedder.finish(exchange, reply.body?.length ?? 0, () => exchange.cut());
      send(exchange, tell(withCors(exchange, reply), form, exchange, call));
    } catch (error) {
      if (!call.closed) log.warn({ method: methodKey(route.method), err: error }, "An answer was not sent");
      exchange.cut();
    }
  };

  return (exchange) => {
    const route = routes.get(pathOf(exchange));
    if (route?.unary === undefined) return false;
    const form = readRequestFormat(exchange, route.mayGet);
    if (form === undefined) return false;
    if (!shedder.enter(exchange)) {
      const reply = withCors(exchange, busyReply(exchange.headers["content-type"]));
      const kept: Record<string, string> = form.query === undefined ? {} : { "cache-control": "no-store" };
      send(exchange, { ...reply, headers: { ...reply.headers, ...kept } });
      return true;
    }
    const call = openCall(route, exchange);
    exchange.onClose(() => {
      call.close();
      shedder.leave(exchange);
    });
    void take({ route, unary: route.unary, form, exchange, call });
    return true;
  };
}

const NOTHING = Buffer.alloc(0);

function pathOf({ target }: HttpExchange): string {
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}

/** What interceptors and handlers are told. Few of them look at what takes work to make. */
function requestOf(
  { unary, exchange, call }: Taken,
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
      return headerOf(exchange);
    },
    get signal() {
      return call.signal;
    },
  };
}

/** Adds to an answer what callers, and caches on the way to them, are to know. */
function tell(
  reply: HttpResponse,
  form: RequestFormat,
  { headers }: HttpExchange,
  call: ActiveCall,
): HttpResponse {
  const cache = cacheHeadersOf(call, {
    isGet: form.query !== undefined,
    isOk: reply.status === 200,
    ifNoneMatch: headers["if-none-match"],
    vary: reply.headers.vary,
  });
  const told: Record<string, string> = { ...reply.headers };
  for (const [name, value] of limitHeadersOf(call)) told[name] = value;
  for (const [name, value] of cache.headers) told[name] = value;
  if (!cache.isNotModified) return { ...reply, headers: told };
  // What describes the body that is not sent is not for the body that the caller has.
  for (const name of ["content-type", "content-length", "content-encoding"]) delete told[name];
  return { status: 304, headers: told };
}
