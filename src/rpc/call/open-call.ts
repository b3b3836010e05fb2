import type { IncomingHttpHeaders } from "node:http";
import { BlockList } from "node:net";
import type { Log } from "../../kernel/log.ts";
import type { Route } from "../server/routes.ts";
import type { ServerLimits } from "../server/server-limits.ts";
import { ActiveCall } from "./active-call.ts";
import { clientAddressOf } from "./client-address.ts";
import { takeTimeout } from "./timeout.ts";

/** What a call is made of. */
export interface Arrival {
  headers: IncomingHttpHeaders;
  /** Names and values in turn, as they came. */
  rawHeaders: readonly string[];
  /** The address at the other end of the connection. */
  peer: string | undefined;
  /** Ends the exchange without an answer. */
  cut(): void;
}

/** Begins a call whose headers have come. */
export type OpenCall = (route: Route, arrival: Arrival) => ActiveCall;

export interface CallOptions {
  trustedProxies: BlockList;
  limits: ServerLimits;
  log: Log;
}

/** @returns a function that reads from the headers what there is to know of a call, and starts its clock */
export function createOpenCall({ trustedProxies, limits, log }: CallOptions): OpenCall {
  const none = new BlockList();
  let hasToldOfProxy = false;
  const addressOf = ({ headers, peer }: Arrival): string => {
    const forwardedFor = headers["x-forwarded-for"];
    const address = clientAddressOf(peer, forwardedFor, trustedProxies);
    if (forwardedFor !== undefined && !hasToldOfProxy && address === clientAddressOf(peer, undefined, none)) {
      hasToldOfProxy = true;
      log.info(
        { peer },
        "X-Forwarded-For is not believed from here: if this is a proxy of yours, name it in TRUSTED_PROXIES",
      );
    }
    return address;
  };
  return (route, arrival) => {
    const { headers } = arrival;
    const type = headers["content-type"] ?? "";
    const grpc = type.startsWith("application/grpc");
    const askedMs = takeTimeout(headers, grpc);
    return new ActiveCall({
      protocol: !grpc ? "connect" : type.startsWith("application/grpc-web") ? "grpc-web" : "grpc",
      clientAddress: addressOf(arrival),
      userAgent: (headers["user-agent"] ?? "").slice(0, 200),
      authorization: authorizationOf(arrival),
      policy: route.policy,
      timeoutMs: askedMs === undefined ? route.defaultMs : Math.min(askedMs, route.maxMs),
      bodyIdleMs: limits.bodyIdleMs,
      deliveryMs: limits.deliveryMs,
      settleMs: limits.settleMs,
      cut: () => arrival.cut(),
    });
  };
}

/** What the caller shows; two credentials are one that is no good, for who could say which of them counts. */
function authorizationOf({ headers, rawHeaders }: Arrival): string | undefined {
  if (headers.authorization === undefined) return undefined;
  const shown = rawHeaders.filter((_, index) => index % 2 === 1 && isAuthorization(rawHeaders[index - 1]));
  return shown.length > 1 ? shown.join(", ") : headers.authorization;
}

function isAuthorization(name = ""): boolean {
  return name.length === "authorization".length && name.toLowerCase() === "authorization";
}
