import type { BlockList, Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createCountedWarning, type Log } from "../../../kernel/log.ts";
import type { ServerLimits } from "../server-limits.ts";
import { Connection, type HttpHandlers } from "./connection.ts";
import { type AdmissionResult, ConnectionShares } from "./connection-shares.ts";
import type { AddressDebts } from "./debts/address-debts.ts";
import { createPeer, type Peer } from "./peer.ts";

/** Decides which connections of a listener are served, and by which handlers. */
export interface ConnectionAdmission {
  /** Returns the connection of a socket; undefined when it is refused, and destroyed. */
  accept(socket: Socket): Connection | undefined;
  /** Closes the connections of a network whose addresses are in debt, a few in each turn of the event loop. */
  closeIndebted(peer: Peer): Promise<void>;
  /** The numbers of connections. */
  readonly counts: Readonly<{ open: number; reserved: number }>;
}

/** Dependencies of the admission. */
export interface ConnectionAdmissionOptions {
  /** The most connections that are served completely. */
  maxConnections: number;
  handlers: HttpHandlers;
  /**
   * Connections beyond their share or `maxConnections`, and those of addresses in debt, which serve one health check
   * each. Absent: they are refused.
   */
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

/** The connections of the reserve that an address in debt may have at a time. */
const INDEBTED_SHARE = 2;
/** The part of the reserve that all addresses in debt may have. */
const INDEBTED_PART = 1 / 2;
/** Time for which the place of such a connection is kept after a handshake of TLS, to limit the handshakes. */
const INDEBTED_HANDSHAKE_MS = 500;

/** Creates the admission of a listener. */
export function createConnectionAdmission(options: ConnectionAdmissionOptions): ConnectionAdmission {
  const { maxConnections, handlers, reserve, debts, charge, isSecure, trustedProxies, limits, log } = options;
  const shares = new ConnectionShares({
    capacity: maxConnections,
    minShare: Math.min(limits.minConnectionShare, maxConnections),
  });
  const reserved = new ConnectionShares({ capacity: reserve?.maxConnections ?? 0, minShare: 1 });
  const warnRefused = createCountedWarning(log, "Connections refused", "refused");
  const refuse = (socket: Socket, address: string, reason: AdmissionResult | "in-debt"): void => {
    // RST instead of FIN: no state remains in the kernel.
    socket.resetAndDestroy();
    warnRefused({ address, reason });
  };
  let indebted = 0;

  const chargeUnused = (socket: Socket, connection: Connection): void => {
    if (connection.hasRequest || connection.isClosedByServer) return;
    charge(connection, isSecure && socket.bytesRead > 0 ? UNUSED_HANDSHAKE_UNITS : UNUSED_UNITS);
  };

  const acceptReserved = (socket: Socket, peer: Peer): Connection | undefined => {
    if (reserve === undefined) return undefined;
    const connection = new Connection(socket, peer, reserve.handlers, { isReserved: true });
    if (reserved.add(connection) !== "admitted") return undefined;
    closeAfter(socket, connection, limits.reservedConnectionMs);
    socket.once("close", () => {
      reserved.remove(connection);
      chargeUnused(socket, connection);
    });
    return connection;
  };

  /** Accepts a connection of an address in debt. It is not charged: callers that connect again would stay in debt. */
  const acceptIndebted = (socket: Socket, peer: Peer): Connection | undefined => {
    if (reserve === undefined || reserved.heldBy(peer) >= INDEBTED_SHARE) return undefined;
    if (indebted >= reserve.maxConnections * INDEBTED_PART) return undefined;
    const connection = new Connection(socket, peer, reserve.handlers, { isReserved: true, isIndebted: true });
    if (reserved.add(connection) !== "admitted") return undefined;
    indebted += 1;
    closeAfter(socket, connection, limits.reservedConnectionMs);
    const remove = () => {
      indebted -= 1;
      reserved.remove(connection);
    };
    socket.once("close", () => {
      if (isSecure) setTimeout(remove, INDEBTED_HANDSHAKE_MS).unref();
      else remove();
    });
    return connection;
  };

  return {
    accept(socket) {
      const peer = createPeer(socket.remoteAddress, trustedProxies);
      if (debts?.isInDebt(peer) === true) {
        const connection = acceptIndebted(socket, peer);
        if (connection === undefined) refuse(socket, peer.address, "in-debt");
        return connection;
      }
      const connection = new Connection(socket, peer, handlers);
      const result = shares.add(connection);
      if (result === "admitted") {
        socket.once("close", () => {
          shares.remove(connection);
          chargeUnused(socket, connection);
        });
        return connection;
      }
      const reservedConnection = acceptReserved(socket, peer);
      if (reservedConnection === undefined) refuse(socket, peer.address, result);
      return reservedConnection;
    },
    async closeIndebted(peer) {
      let closed = 0;
      for (const shared of [...shares.networkOf(peer), ...reserved.networkOf(peer)]) {
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

/** Closes a connection that is still open after a time in milliseconds. */
function closeAfter(socket: Socket, connection: Connection, ms: number): void {
  const timer = setTimeout(() => connection.close(), ms);
  socket.once("close", () => clearTimeout(timer));
}
