import { errorToJson } from "@connectrpc/connect/protocol-connect";
import { AppError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { grpcStatusOf } from "../fast-path/grpc-status.ts";
import type { HttpResponse } from "../fast-path/http-exchange.ts";
import { toConnectError } from "../interceptors/errors.ts";

/** What the shedder looks at of a request: whether all of it has come. */
type Request = { readonly complete: boolean };

/** Bounds the calls that are worked at, and the answers that nobody takes. */
export interface LoadShedder {
  /** Whether there is room for one more. */
  enter(request: Request): boolean;
  /** Its body is waited for from now on. */
  expect(request: Request): void;
  /** All of it has come. Whether there is room for it still: one that took its time has lost its place. */
  arrive(request: Request): boolean;
  /**
   * The work is done, which makes room for another, and the answer is on its way.
   * @param cut ends the exchange without waiting for the caller any longer
   */
  finish(request: Request, bytes: number, cut: () => void): void;
  /** The exchange is over. */
  leave(request: Request): void;
}

export interface LoadShedderOptions {
  /** Calls at once, beyond which further ones are turned away. */
  maxCalls: number;
  /** Bytes of answers that callers have not taken yet, beyond which those go that have waited for longest. */
  maxUntakenBytes: number;
  log: Log;
}

/** How often the log tells of calls that were turned away, milliseconds. */
const TELL_MS = 1_000;
/** For how long a request that does not come to its end may take the room of others, milliseconds. */
const ARRIVE_MS = 1_000;
/** How often those are looked for while there is no room, milliseconds. */
const LOOK_MS = 100;

/** Where a call is: counted while it comes and is worked at, not while nothing is done for it. */
type Place =
  | { state: "arriving"; sinceMs: number }
  | { state: "working" }
  | { state: "stalled" }
  | { state: "leaving"; bytes: number; cut: () => void };

/**
 * Turns calls away where others would have to wait for them. Whoever begins calls and does not finish them has no
 * work done, and is not to keep others out by it: after a second they are not counted any more, until they have
 * come. Nor is whoever does not take his answers.
 */
export function createLoadShedder({ maxCalls, maxUntakenBytes, log }: LoadShedderOptions): LoadShedder {
  /** In the order in which they came to be what they are. */
  const places = new Map<Request, Place>();
  const untaken = new Map<Request, Place & { state: "leaving" }>();
  let inside = 0;
  let untakenBytes = 0;
  let turnedAway = 0;
  let tellAtMs = 0;
  let lookAtMs = 0;
  const turnAway = (nowMs: number): false => {
    turnedAway += 1;
    if (nowMs >= tellAtMs) {
      tellAtMs = nowMs + TELL_MS;
      log.warn({ calls: inside, turned_away: turnedAway }, "too many calls at once; some are turned away");
      turnedAway = 0;
    }
    return false;
  };
  const passOverStalled = (nowMs: number) => {
    lookAtMs = nowMs + LOOK_MS;
    for (const [request, place] of places) {
      if (place.state !== "arriving") continue;
      if (place.sinceMs > nowMs - ARRIVE_MS) return;
      if (request.complete) places.set(request, { state: "working" });
      else {
        places.set(request, { state: "stalled" });
        inside -= 1;
      }
    }
  };
  const hasRoom = (nowMs: number): boolean => {
    if (inside >= maxCalls && nowMs >= lookAtMs) passOverStalled(nowMs);
    return inside < maxCalls || turnAway(nowMs);
  };
  const leave = (request: Request): void => {
    const place = places.get(request);
    if (place === undefined) return;
    places.delete(request);
    if (place.state === "arriving" || place.state === "working") inside -= 1;
    if (place.state !== "leaving") return;
    untaken.delete(request);
    untakenBytes -= place.bytes;
  };
  return {
    enter(request) {
      if (!hasRoom(performance.now())) return false;
      inside += 1;
      places.set(request, { state: "working" });
      return true;
    },
    expect(request) {
      if (places.get(request)?.state !== "working") return;
      // Behind those that came before.
      places.delete(request);
      places.set(request, { state: "arriving", sinceMs: performance.now() });
    },
    arrive(request) {
      const place = places.get(request);
      if (place === undefined) return true;
      if (place.state === "stalled") {
        if (!hasRoom(performance.now())) return false;
        inside += 1;
      }
      places.set(request, { state: "working" });
      return true;
    },
    finish(request, bytes, cut) {
      const place = places.get(request);
      if (place === undefined || place.state === "leaving") return;
      if (place.state !== "stalled") inside -= 1;
      const leaving = { state: "leaving", bytes, cut } as const;
      places.set(request, leaving);
      untaken.set(request, leaving);
      untakenBytes += bytes;
      for (const [slowest, { cut }] of untaken) {
        if (untakenBytes <= maxUntakenBytes || slowest === request) return;
        leave(slowest);
        cut();
      }
    },
    leave,
  };
}

/** When those who are turned away may come back, milliseconds. */
const RETRY_AFTER_MS = 1_000;

/** What they are told, made once. */
export const busy = toConnectError(
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
export function busyReply(type = ""): HttpResponse {
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
