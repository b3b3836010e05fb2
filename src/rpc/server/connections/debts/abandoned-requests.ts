import type { ServerResponse } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import { isAbortedByServer } from "../../../fast-path/exchange-abort.ts";
import { declaredTimeoutMs } from "../../../protocol/timeout-header.ts";

/**
 * The charge for a request that is in flight when its caller closes the connection, in units of one reset stream. It is
 * less than one because honest callers do so too: a load generator that stops drops the requests of the last 100 ms,
 * about 1,000 at 10,000 calls a second. An attacker needs a new connection for each 256 of them.
 */
export const DROPPED_UNITS = 1 / 2;

/**
 * The shortest time after which a reset counts as one at its declared deadline, in milliseconds. Without it a declared
 * timeout of 0 would make all resets free.
 */
const MIN_DEADLINE_MS = 10;

/**
 * The part of a declared timeout that must have passed. The caller counts from before it sends the request, the server
 * from when it has read it.
 */
const DEADLINE_PART = 1 / 2;

/** A moment. */
export interface Moment {
  /** Milliseconds of `performance.now()`. */
  readonly atMs: number;
  /** Milliseconds of the `ResponsiveClock`. */
  readonly responsiveMs: number;
}

/** A request, and when it was opened. */
export interface OpenedRequest extends Moment {
  /** Names and values in turn, as they were sent. */
  readonly rawHeaders: readonly string[];
}

/**
 * Returns whether a request was given up so early that its caller waited neither for the response nor for its deadline.
 * @param end when the caller gave it up
 * @param rapidResetMs the age from which on a request was waited for
 */
export function isGivenUpEarly(
  { atMs, responsiveMs, rawHeaders }: OpenedRequest,
  end: Moment,
  rapidResetMs: number,
): boolean {
  if (end.responsiveMs - responsiveMs >= rapidResetMs) return false;
  const elapsedMs = end.atMs - atMs;
  const timeoutMs = declaredTimeoutMs(rawHeaders);
  return timeoutMs === undefined || elapsedMs < Math.max(MIN_DEADLINE_MS, timeoutMs * DEADLINE_PART);
}

/** Returns whether the caller ended a stream of HTTP/2, which is closed, before its response was complete. */
export function isEndedByCaller(stream: ServerHttp2Stream): boolean {
  // Node sets `aborted` when the response had not been ended, and closes the stream before the last writes finish.
  const isIncomplete = stream.aborted || (stream.rstCode !== 0 && !stream.writableFinished);
  return isIncomplete && !isAbortedByServer(stream);
}

/** Returns whether the caller ended an exchange of HTTP/1.1, which is closed, before its response was complete. */
export function isHttp1EndedByCaller(response: ServerResponse): boolean {
  return !response.writableFinished && !isAbortedByServer(response.req.socket);
}
