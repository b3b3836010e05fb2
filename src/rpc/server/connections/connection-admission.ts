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
  /** Closes the HTTP/2 connections of a network whose addresses are in debt, a few in each turn of the event loop. */
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
  trustedProxies: BlockList;
  limits: ServerLimits;
  log: Log;
}

/** Closing a session takes 0.1 ms, and an address may have thousands. */
const CLOSED_PER_TURN = 32;

/** The shortest interval of log lines about refused connections, in milliseconds. */
const LOG_INTERVAL_MS = 1_000;

/** Creates the admission of a listener. */
export function createConnectionAdmission(options: ConnectionAdmissionOptions): ConnectionAdmission {
  const { maxConnections, handlers, reserve, debts, trustedProxies, limits, log } = options;
  const shares = new ConnectionShares({
    capacity: maxConnections,
    minShare: Math.min(limits.minConnectionShare, maxConnections),
  });
  const reserved = new ConnectionShares({ capacity: reserve?.maxConnections ?? 0, minShare: 1 });
  const refuse = createRefusal(log);

  const acceptReserved = (connection: Connection): boolean => {
    if (reserved.add(connection) !== "admitted") return false;
    const { socket } = connection;
    const timer = setTimeout(() => connection.close(), limits.reservedConnectionMs);
    socket.once("close", () => {
      clearTimeout(timer);
      reserved.remove(connection);
    });
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
        socket.once("close", () => shares.remove(connection));
        return connection;
      }
      if (reserve !== undefined) {
        const reservedConnection = new Connection(socket, peer, reserve.handlers, true);
        if (acceptReserved(reservedConnection)) return reservedConnection;
      }
      refuse(socket, peer.address, result);
      return undefined;
    },
    async closeIndebted(peer) {
      let closed = 0;
      for (const shared of [...shares.networkOf(peer), ...reserved.networkOf(peer)]) {
        if (!shared.isHttp2 || debts?.isInDebt(shared.peer) !== true) continue;
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
