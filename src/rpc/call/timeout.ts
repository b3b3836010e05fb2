import type { IncomingHttpHeaders } from "node:http";

const grpcHeader = "grpc-timeout";
const connectHeader = "connect-timeout-ms";

const grpcUnitMs: Record<string, number> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** Timers overflow above this, and then fire at once. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * How long the caller gives the call, milliseconds; undefined when nothing is said. The header is taken
 * away, so that Connect starts no timer of its own: that one knows no policy, and overflows after 24 days.
 * A malformed header stays, for Connect to refuse.
 */
export function takeTimeout(headers: IncomingHttpHeaders, grpc: boolean): number | undefined {
  const name = grpc ? grpcHeader : connectHeader;
  const text = headers[name];
  if (typeof text !== "string") return undefined;
  const timeoutMs = grpc ? parseGrpc(text) : parseConnect(text);
  if (timeoutMs === undefined) return undefined;
  delete headers[name];
  return timeoutMs > longestTimerMs ? Number.POSITIVE_INFINITY : timeoutMs;
}

/** Whether the caller says something of the time that is not to be read. */
export function hasFaultyTimeout(headers: IncomingHttpHeaders, grpc: boolean): boolean {
  const text = headers[grpc ? grpcHeader : connectHeader];
  if (text === undefined) return false;
  return typeof text !== "string" || (grpc ? parseGrpc(text) : parseConnect(text)) === undefined;
}

function parseGrpc(text: string): number | undefined {
  const [, digits, unit = ""] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  const unitMs = grpcUnitMs[unit];
  return unitMs === undefined ? undefined : Number(digits) * unitMs;
}

function parseConnect(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}
