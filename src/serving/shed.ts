import { errorToJson } from "@connectrpc/connect/protocol-connect";
import { toConnectError } from "../interceptors/errors.ts";
import { AppError } from "../kernel/errors.ts";
import type { Log } from "../kernel/log.ts";
import type { Reply } from "./exchange.ts";
import { grpcStatusOf } from "./grpc-status.ts";

/** What the shedder looks at of a request: whether all of it has come. */
type Arriving = { readonly complete: boolean };

/** Bounds the calls that are worked at. */
export interface Shedder {
  /** Whether there is room for one more, which then has it until it leaves. */
  enter(request: Arriving): boolean;
  leave(request: Arriving): void;
}

export interface ShedderOptions {
  /** Calls at once, beyond which further ones are turned away. */
  maxCalls: number;
  log: Log;
}

/** How often the log tells of calls that were turned away, milliseconds. */
const TELL_MS = 1_000;
/** For how long a request that does not come to its end may take the room of others, milliseconds. */
const ARRIVE_MS = 1_000;
/** How often those are looked for while there is no room, milliseconds. */
const LOOK_MS = 100;

/**
 * Turns calls away where others would have to wait for them. Whoever begins calls and does not finish them has no
 * work done, and is not to keep others out by it: after a second they are not counted any more.
 */
export function createShedder({ maxCalls, log }: ShedderOptions): Shedder {
  /** When requests came that may still be on their way, in that order. */
  const arriving = new Map<Arriving, number>();
  const stalled = new Set<Arriving>();
  let inside = 0;
  let turnedAway = 0;
  let tellAtMs = 0;
  let lookAtMs = 0;
  const turnAway = (nowMs: number) => {
    turnedAway += 1;
    if (nowMs < tellAtMs) return;
    tellAtMs = nowMs + TELL_MS;
    log.warn({ calls: inside, turned_away: turnedAway }, "too many calls at once; some are turned away");
    turnedAway = 0;
  };
  const passOverStalled = (nowMs: number) => {
    lookAtMs = nowMs + LOOK_MS;
    for (const [request, sinceMs] of arriving) {
      if (sinceMs > nowMs - ARRIVE_MS) return;
      arriving.delete(request);
      if (request.complete) continue;
      stalled.add(request);
      inside -= 1;
    }
  };
  return {
    enter(request) {
      const nowMs = performance.now();
      if (inside >= maxCalls && nowMs >= lookAtMs) passOverStalled(nowMs);
      if (inside >= maxCalls) {
        turnAway(nowMs);
        return false;
      }
      inside += 1;
      arriving.set(request, nowMs);
      return true;
    },
    leave(request) {
      arriving.delete(request);
      if (stalled.delete(request)) return;
      inside -= 1;
    },
  };
}

/** When those who are turned away may come back, milliseconds. */
const RETRY_AFTER_MS = 1_000;

/** What they are told, made once. */
const busy = toConnectError(
  new AppError("unavailable", "There are too many calls at this moment. Try again in a second.", {
    reason: "OVERLOADED",
    retryAfterMs: RETRY_AFTER_MS,
  }),
);
const headers = { "retry-after": String(RETRY_AFTER_MS / 1_000) };
const unaryBody = Buffer.from(JSON.stringify(errorToJson(busy, undefined)));
const streamBody = endOfStream(JSON.stringify({ error: errorToJson(busy, undefined) }));
const grpcHeaders = { ...headers, ...grpcStatusOf(busy) };
const unaryHeaders = {
  ...headers,
  "content-type": "application/json",
  "content-length": String(unaryBody.length),
};

/**
 * Says in the caller's protocol that there is no room: UNAVAILABLE, with a time to come back. Nothing of the
 * request is read; it costs a small part of what the call would.
 * @param type the request's content type
 */
export function busyReply(type = ""): Reply {
  // The short form: an answer without messages, with what trailers tell in its headers.
  if (type.startsWith("application/grpc")) {
    return { status: 200, headers: { ...grpcHeaders, "content-type": type } };
  }
  if (type.startsWith("application/connect+")) {
    return { status: 200, headers: { ...headers, "content-type": type }, body: streamBody };
  }
  return { status: 503, headers: unaryHeaders, body: unaryBody };
}

/** The last message of a Connect stream: flags, length, JSON. */
function endOfStream(json: string): Buffer {
  const body = Buffer.from(json);
  const head = Buffer.alloc(5);
  head.writeUInt8(0b10);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}
