import type { BlockList, Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Log } from "../../../kernel/log.ts";
import type { ServerLimits } from "../server-limits.ts";
import type { AddressDebts } from "./address-debts.ts";
import { Connection, type HttpHandlers } from "./connection.ts";
import { type AdmissionResult, ConnectionShares } from "./connection-shares.ts";
import { createPeer, type Peer } from "./peer.ts";

/** Decides which connections of a listener are served, and by which handlers. */
export interface ConnectionAdmission {
  /** Returns the connection of a socket; undefined when it is refused, and destroyed. */
  accept(socket: Socket): Connection | undefined;
  /**
   * Closes the connections of a network whose addresses are in debt, except those of HTTP/1.1 that have sent a request.
   * It closes a few in each turn of the event loop.
   */
  closeIndebted(peer: Peer): Promise<void>;
  /** The numbers of connections. */
  readonly counts: Readonly<{ open: number; reserved: number }>;
}

/** Dependencies of the admission. */
export interface ConnectionAdmissionOptions {
  /** The most connections that are served completely. */
  maxConnections: number;
  handlers: HttpHandlers;
  /** Connections beyond their share or `maxConnections`, which serve one health check each. Absent: they are refused. */
  reserve: { maxConnections: number; handlers: HttpHandlers } | undefined;
  /** Absent: addresses in debt are accepted. */
  debts: AddressDebts | undefined;
  /** Charges the peer of a connection for work that it caused, in units of one reset stream. */
  charge(connection: Connection, units: number): void;
  /** Whether connections begin with a handshake of TLS. */
  isSecure: boolean;
  trustedProxies: BlockList;
  limits: ServerLimits;
  log: Log;
}

/** Closing a session takes 0.1 ms, and an address may have thousands. */
const CLOSED_PER_TURN = 32;

/**
 * The charge for a connection that ends without a request, so that probes of a port, unused connections of browsers and
 * port scanners cost little. A handshake of TLS takes 1 ms, five times as long as a session of HTTP/2.
 */
const UNUSED_UNITS = 1;
const UNUSED_HANDSHAKE_UNITS = 5;

/** The shortest interval of log lines about refused connections, in milliseconds. */
const LOG_INTERVAL_MS = 1_000;

/** Creates the admission of a listener. */
export function createConnectionAdmission(options: ConnectionAdmissionOptions): ConnectionAdmission {
  const { maxConnections, handlers, reserve, debts, charge, isSecure, trustedProxies, limits, log } = options;
  const shares = new ConnectionShares({
    capacity: maxConnections,
    minShare: Math.min(limits.minConnectionShare, maxConnections),
  });
  const reserved = new ConnectionShares({ capacity: reserve?.maxConnections ?? 0, minShare: 1 });
  const refuse = createRefusal(log);

  const removeWhenClosed = (socket: Socket, connection: Connection, from: ConnectionShares): void => {
    socket.once("close", () => {
      from.remove(connection);
      if (connection.hasRequest || connection.isClosedByServer) return;
      charge(connection, isSecure && socket.bytesRead > 0 ? UNUSED_HANDSHAKE_UNITS : UNUSED_UNITS);
    });
  };

  const acceptReserved = (socket: Socket, connection: Connection): boolean => {
    if (reserved.add(connection) !== "admitted") return false;
    const timer = setTimeout(() => connection.close(), limits.reservedConnectionMs);
    socket.once("close", () => clearTimeout(timer));
    removeWhenClosed(socket, connection, reserved);
    return true;
  };

  return {
    accept(socket) {
      const peer = createPeer(socket.remoteAddress, trustedProxies);
      if (debts?.isInDebt(peer) === true) {
        refuse(socket, peer.address, "in-debt");
        return undefined;
      }
      const connection = new Connection(socket, peer, handlers, false);
      const result = shares.add(connection);
      if (result === "admitted") {
        removeWhenClosed(socket, connection, shares);
        return connection;
      }
      if (reserve !== undefined) {
        const reservedConnection = new Connection(socket, peer, reserve.handlers, true);
        if (acceptReserved(socket, reservedConnection)) return reservedConnection;
      }
      refuse(socket, peer.address, result);
      return undefined;
    },
    async closeIndebted(peer) {
      let closed = 0;
      for (const shared of [...shares.networkOf(peer), ...reserved.networkOf(peer)]) {
        if (shared.hasRequest && !shared.isHttp2) continue;
        if (debts?.isInDebt(shared.peer) !== true) continue;
        shared.close();
        closed += 1;
        if (closed % CLOSED_PER_TURN === 0) await nextTurn();
      }
    },
    get counts() {
      return { open: shares.size, reserved: reserved.size };
    },
  };
}

/** Creates the function that refuses a connection. It logs at most one line a second. */
function createRefusal(
  log: Log,
): (socket: Socket, address: string, reason: AdmissionResult | "in-debt") => void {
  let refused = 0;
  let nextLogAtMs = 0;
  return (socket, address, reason) => {
    // RST instead of FIN: no state remains in the kernel.
    socket.resetAndDestroy();
    refused += 1;
    const nowMs = performance.now();
    if (nowMs < nextLogAtMs) return;
    nextLogAtMs = nowMs + LOG_INTERVAL_MS;
    log.warn({ address, reason, refused }, "Connections refused");
    refused = 0;
  };
}
