import type { BlockList } from "node:net";
import type { Log } from "../../../kernel/log.ts";
import type { Request } from "../node-http.ts";
import type { ServerLimits } from "../server-limits.ts";
import type { Connection, HttpHandlers } from "./connection.ts";
import { type ConnectionAdmission, createConnectionAdmission } from "./connection-admission.ts";
import { AddressDebts } from "./debts/address-debts.ts";
import { createHttp1Server } from "./http-servers.ts";
import { Http1Connections } from "./http1-connections.ts";
import { Http2Sessions } from "./http2-sessions.ts";
import { createListener, type Listener, type TlsFiles } from "./listener.ts";
import { OpeningQueue } from "./opening-queue.ts";

/** Dependencies of the connections. */
export interface HttpConnectionsOptions {
  trustedProxies: BlockList;
  limits: ServerLimits;
  log: Log;
}

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
  readonly #ports: Port[] = [];
  readonly #opening = new OpeningQueue();
  #isClosing = false;

  constructor(options: HttpConnectionsOptions) {
    const { limits, log } = options;
    this.#options = options;
    this.#debts = new AddressDebts(limits);
    const charge = (connection: Connection, units: number) => this.#charge(connection, units);
    const server = createHttp1Server(limits);
    this.#http1 = new Http1Connections({ server, rapidResetMs: limits.rapidResetMs, charge });
    this.#http2 = new Http2Sessions({ limits, charge, log });
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
    const isNewDebt = this.#debts.charge(connection.peer, units);
    // Also a connection that was accepted before its address got into debt and opened afterwards.
    if (this.#debts.isInDebt(connection.peer)) connection.close();
    if (!isNewDebt) return;
    const { address } = connection.peer;
    this.#options.log.warn({ address }, "Address in debt: its connections were closed");
    for (const { admission } of this.#ports) void admission.closeIndebted(connection.peer);
  }
}
