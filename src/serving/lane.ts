import type { Message } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextValues,
  type UnaryRequest,
} from "@connectrpc/connect";
import { type ActiveCall, callKey } from "../interceptors/call.ts";
import type { Gate } from "../interceptors/gate.ts";
import { methodKey } from "../interceptors/policy.ts";
import { completeRefusal } from "../interceptors/refusals.ts";
import type { Log } from "../kernel/log.ts";
import { errorReply, headerOf, messageReply, universalReply, urlOf } from "./answers.ts";
import type { OpenCall } from "./calls.ts";
import type { Encode } from "./encoded.ts";
import type { Exchange, Reply } from "./exchange.ts";
import { type Form, formOf } from "./form.ts";
import { cacheHeadersOf } from "./http-cache.ts";
import { limitHeadersOf } from "./http-limits.ts";
import { maxMessageBytes } from "./limits.ts";
import { frameBytes, messageOf } from "./message.ts";
import type { Route, Unary } from "./routes.ts";
import { busyReply, type Shedder } from "./shed.ts";
import { assertUtf8Query } from "./utf8.ts";

export interface LaneOptions {
  routes: ReadonlyMap<string, Route>;
  openCall: OpenCall;
  gate: Gate;
  encode: Encode;
  shedder: Shedder;
  /** What CORS says to callers from there. */
  corsHeaders(origin: string | undefined): Readonly<Record<string, string>>;
  draining: AbortSignal;
  log: Log;
}

/** Takes a request if it is one for the lane. @returns whether it did */
export type Lane = (exchange: Exchange) => boolean;

/** A call on the lane. */
interface Taken {
  readonly route: Route;
  readonly unary: Unary;
  readonly form: Form;
  readonly exchange: Exchange;
  readonly call: ActiveCall;
}

/**
 * The short way for unary calls in their usual form, in all three protocols. It passes the same gate and the same
 * interceptors as the long way by Connect, which takes everything else, and is asked about messages that cannot
 * be read. What it leaves out is what makes calls of all kinds look the same: streams of bytes within streams.
 */
export function createLane(options: LaneOptions): Lane {
  const { routes, openCall, gate, encode, shedder, corsHeaders, draining, log } = options;

  const answer = async (taken: Taken): Promise<Reply> => {
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
        completeRefusal(error);
        return errorReply(error, form);
      }
      log.error({ method: methodKey(route.method), err: error }, "An answer could not be written");
      return errorReply(new ConnectError("internal error", Code.Internal), form);
    }
  };

  const withCors = (exchange: Exchange, reply: Reply): Reply => ({
    ...reply,
    headers: { ...corsHeaders(exchange.headers.origin), ...reply.headers },
  });
  const send = (exchange: Exchange, reply: Reply): void => {
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
    const form = formOf(exchange, route.mayGet);
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

function pathOf({ target }: Exchange): string {
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
function tell(reply: Reply, form: Form, { headers }: Exchange, call: ActiveCall): Reply {
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
