import type { BlockList } from "node:net";
import type { Log } from "../../../kernel/log.ts";
import type { Request } from "../node-http.ts";
import type { ServerLimits } from "../server-limits.ts";
import type { Connection, HttpHandlers } from "./connection.ts";
import { type ConnectionAdmission, createConnectionAdmission } from "./connection-admission.ts";
import { AddressDebts } from "./debts/address-debts.ts";
import { ResponsiveClock } from "./debts/responsive-clock.ts";
import { createHttp1Server } from "./http-servers.ts";
import { Http1Connections } from "./http1-connections.ts";
import { Http2Sessions } from "./http2-sessions.ts";
import { createListener, type Listener, type TlsFiles } from "./listener.ts";
import { OpeningQueue } from "./opening-queue.ts";
import { createPeer, type Peer } from "./peer.ts";

/** Dependencies of the connections. */
export interface HttpConnectionsOptions {
  trustedProxies: BlockList;
  limits: ServerLimits;
  log: Log;
}

/**
 * The charge for a call that is rejected because of its rate limit or an overload. A rejection takes about a tenth of
 * the time of a stream that is reset. Callers that repeat rejected calls reach the limit at 1,000 calls a second.
 */
const REJECTED_CALL_UNITS = 0.1;

/** One port and what is served on it. */
export interface PortOptions {
  /** Absent: plaintext. */
  tls: TlsFiles | undefined;
  maxConnections: number;
  handlers: HttpHandlers;
  /** Absent: connections beyond their share or `maxConnections` are refused. */
  reserve: { maxConnections: number; handlers: HttpHandlers } | undefined;
  /** Whether connections from addresses in debt are refused. */
  refusesIndebted: boolean;
}

/** A port that has not been bound yet. */
export interface Port {
  readonly listener: Listener;
  readonly admission: ConnectionAdmission;
}

/** All connections of a server, on all of its ports. */
export class HttpConnections {
  readonly #options: HttpConnectionsOptions;
  readonly #http1: Http1Connections;
  readonly #http2: Http2Sessions;
  readonly #debts: AddressDebts;
  readonly #clock = new ResponsiveClock();
  readonly #ports: Port[] = [];
  readonly #opening = new OpeningQueue();
  #isClosing = false;

  constructor(options: HttpConnectionsOptions) {
    const { limits, log } = options;
    this.#options = options;
    this.#debts = new AddressDebts(limits);
    const charge = (connection: Connection, units: number) => this.#charge(connection, units);
    const server = createHttp1Server(limits);
    this.#http1 = new Http1Connections({
      server,
      rapidResetMs: limits.rapidResetMs,
      clock: this.#clock,
      charge,
    });
    this.#http2 = new Http2Sessions({ limits, clock: this.#clock, charge, log });
  }

  /** Returns the address of a request's peer; undefined when its connection is closed. */
  peerOf(request: Request): string | undefined {
    return "stream" in request ? this.#http2.peerOf(request.stream.session) : request.socket.remoteAddress;
  }

  /**
   * Creates a port.
   * @throws StartupError for a certificate or key that cannot be used
   */
  createPort(options: PortOptions): Port {
    const { tls, maxConnections, handlers, reserve, refusesIndebted } = options;
    const { limits } = this.#options;
    const admission = createConnectionAdmission({
      ...this.#options,
      maxConnections,
      handlers,
      reserve,
      debts: refusesIndebted ? this.#debts : undefined,
      charge: (connection, units) => this.#charge(connection, units),
      isSecure: tls !== undefined,
    });
    const listener = createListener({
      tls,
      accept: (socket) => admission.accept(socket),
      opening: this.#opening,
      maxConnections: maxConnections + (reserve?.maxConnections ?? 0),
      onHttp1: (socket, connection) => this.#http1.open(socket, connection),
      onHttp2: (socket, connection) => this.#http2.open(socket, connection),
      limits,
    });
    const port = { listener, admission };
    this.#ports.push(port);
    return port;
  }

  /**
   * Charges the address of a peer for a call that was rejected because of its rate limit or an overload.
   * @param calls the number of such calls that have cost as much
   */
  chargeRejectedCall(peer: string | undefined, calls = 1): void {
    // Its connection is closed already.
    if (peer === undefined) return;
    this.#chargePeer(createPeer(peer, this.#options.trustedProxies), calls * REJECTED_CALL_UNITS);
  }

  /** Sends GOAWAY to all HTTP/2 peers; open streams may finish. */
  closeSessions(): void {
    this.#isClosing = true;
    this.#http2.closeAll();
  }

  /** Closes the HTTP/1.1 connections without a request in flight. */
  closeIdleHttp1(): void {
    this.#http1.closeIdle();
  }

  /** Stops all timers. */
  stop(): void {
    this.#http1.stop();
    this.#http2.stop();
    this.#clock.stop();
  }

  /** Stops all timers and closes all connections. */
  closeAll(): void {
    this.stop();
    this.#http1.closeAll();
    this.#http2.destroyAll();
  }

  #charge(connection: Connection, units: number): void {
    // A stop closes connections itself.
    if (this.#isClosing) return;
    this.#chargePeer(connection.peer, units);
    // Also a connection that was accepted before its address got into debt and opened afterwards.
    if (this.#debts.isInDebt(connection.peer)) connection.close();
  }

  #chargePeer(peer: Peer, units: number): void {
    if (!this.#debts.charge(peer, units)) return;
    this.#options.log.warn({ address: peer.address }, "Address in debt: its connections were closed");
    for (const { admission } of this.#ports) void admission.closeIndebted(peer);
  }
}
