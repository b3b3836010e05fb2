import type { IncomingHttpHeaders } from "node:http";
import { HOUR_MS, MINUTE_MS } from "../../kernel/durations.ts";

const GRPC_TIMEOUT = "grpc-timeout";
const CONNECT_TIMEOUT = "connect-timeout-ms";

const GRPC_UNIT_MS: Readonly<Record<string, number>> = {
  H: HOUR_MS,
  M: MINUTE_MS,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** Timers overflow above this, and then fire immediately. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Returns the timeout that the caller sets, in milliseconds; undefined when there is none, Infinity when it is longer
 * than a timer can hold. Removes the header, so that Connect starts no timer of its own: Connect's timer ignores the
 * policy, and overflows after 24 days. A malformed header stays, for Connect to reject.
 */
export function consumeTimeoutHeader(headers: IncomingHttpHeaders, isGrpc: boolean): number | undefined {
  const timeoutMs = parseTimeout(headers, isGrpc);
  if (timeoutMs === undefined) return undefined;
  delete headers[headerName(isGrpc)];
  return timeoutMs > MAX_TIMER_MS ? Number.POSITIVE_INFINITY : timeoutMs;
}

/** Returns whether the caller sets a timeout that cannot be parsed. */
export function hasMalformedTimeout(headers: IncomingHttpHeaders, isGrpc: boolean): boolean {
  return headers[headerName(isGrpc)] !== undefined && parseTimeout(headers, isGrpc) === undefined;
}

/** Returns the timeout that a caller declares in the headers of any protocol, in milliseconds; undefined without one. */
export function declaredTimeoutMs(rawHeaders: readonly string[]): number | undefined {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]?.toLowerCase();
    if (name === GRPC_TIMEOUT) return parseGrpc(rawHeaders[index + 1] ?? "");
    if (name === CONNECT_TIMEOUT) return parseConnect(rawHeaders[index + 1] ?? "");
  }
  return undefined;
}

function headerName(isGrpc: boolean): string {
  return isGrpc ? GRPC_TIMEOUT : CONNECT_TIMEOUT;
}

/** Returns the timeout in milliseconds; undefined when it is absent or malformed. */
function parseTimeout(headers: IncomingHttpHeaders, isGrpc: boolean): number | undefined {
  const text = headers[headerName(isGrpc)];
  if (typeof text !== "string") return undefined;
  return isGrpc ? parseGrpc(text) : parseConnect(text);
}

function parseGrpc(text: string): number | undefined {
  const [, digits, unit = ""] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  const unitMs = GRPC_UNIT_MS[unit];
  return unitMs === undefined ? undefined : Number(digits) * unitMs;
}

function parseConnect(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}
