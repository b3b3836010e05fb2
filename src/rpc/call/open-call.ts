import type { IncomingHttpHeaders } from "node:http";
import { BlockList } from "node:net";
import type { Log } from "../../kernel/log.ts";
import { readOrderToken } from "../headers/order-token.ts";
import { protocolOf } from "../protocol/content-type.ts";
import { consumeTimeoutHeader } from "../protocol/timeout-header.ts";
import type { Route } from "../server/routes.ts";
import type { ServerLimits } from "../server/server-limits.ts";
import { ActiveCall } from "./active-call.ts";
import { resolveClientAddress } from "./client-address.ts";

/** Longest user agent, in UTF-16 units; longer ones are truncated. */
const MAX_USER_AGENT_LENGTH = 200;

/** An HTTP request whose headers have arrived. */
export interface IncomingCall {
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as they were sent. */
  readonly rawHeaders: readonly string[];
  /** The address of the peer. */
  readonly peer: string | undefined;
  /** Ends the exchange without a response. */
  abort(): void;
}

/** Opens a call for a request, and starts its deadline. */
export type OpenCall = (route: Route, incoming: IncomingCall) => ActiveCall;

/** Dependencies of `createOpenCall`. */
export interface OpenCallOptions {
  trustedProxies: BlockList;
  limits: ServerLimits;
  log: Log;
}

/** Creates the function that opens calls. It warns once of a proxy that is not trusted. */
export function createOpenCall({ trustedProxies, limits, log }: OpenCallOptions): OpenCall {
  const noProxies = new BlockList();
  let hasWarned = false;
  const clientAddressOf = ({ headers, peer }: IncomingCall): string => {
    const forwardedFor = headers["x-forwarded-for"];
    const address = resolveClientAddress(peer, forwardedFor, trustedProxies);
    if (
      forwardedFor !== undefined &&
      !hasWarned &&
      address === resolveClientAddress(peer, undefined, noProxies)
    ) {
      hasWarned = true;
      log.warn(
        { peer },
        "X-Forwarded-For ignored: if the peer is a proxy of yours, add it to TRUSTED_PROXIES",
      );
    }
    return address;
  };
  return (route, incoming) => {
    const { headers } = incoming;
    const protocol = protocolOf(headers["content-type"]);
    const timeoutMs = consumeTimeoutHeader(headers, protocol !== "connect");
    return new ActiveCall({
      protocol,
      clientAddress: clientAddressOf(incoming),
      peer: incoming.peer,
      userAgent: (headers["user-agent"] ?? "").slice(0, MAX_USER_AGENT_LENGTH),
      authorization: authorizationOf(incoming),
      orderToken: readOrderToken(headers),
      policy: route.policy,
      timeoutMs: timeoutMs === undefined ? route.defaultTimeoutMs : Math.min(timeoutMs, route.maxTimeoutMs),
      bodyIdleMs: limits.bodyIdleMs,
      deliveryMs: limits.deliveryMs,
      settleMs: limits.settleMs,
      abort: () => incoming.abort(),
    });
  };
}

/** Returns the Authorization header. Several of them are joined, which makes them invalid: none takes precedence. */
function authorizationOf({ headers, rawHeaders }: IncomingCall): string | undefined {
  if (headers.authorization === undefined) return undefined;
  const values = rawHeaders.filter((_, index) => index % 2 === 1 && isAuthorization(rawHeaders[index - 1]));
  return values.length > 1 ? values.join(", ") : headers.authorization;
}

function isAuthorization(name = ""): boolean {
  return name.length === "authorization".length && name.toLowerCase() === "authorization";
}
