import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Connection } from "./connection.ts";
import {
  DROPPED_UNITS,
  isGivenUpEarly,
  isHttp1EndedByCaller,
  type Moment,
} from "./debts/abandoned-requests.ts";
import type { ResponsiveClock } from "./debts/responsive-clock.ts";

/** Dependencies of the connections. */
export interface Http1ConnectionsOptions {
  server: Server;
  /** The age from which on a request was waited for, in milliseconds. */
  rapidResetMs: number;
  clock: ResponsiveClock;
  /** Charges the peer of a connection for work that it caused and does not wait for, in units of one reset stream. */
  charge(connection: Connection, units: number): void;
}

/** The HTTP/1.1 connections of a server. Charges peers for requests that they drop by closing their connection. */
export class Http1Connections {
  readonly #options: Http1ConnectionsOptions;
  readonly #connections = new WeakMap<Socket, Connection>();

  constructor(options: Http1ConnectionsOptions) {
    const { server } = options;
    this.#options = options;
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      const connection = this.#connections.get(request.socket);
      if (connection === undefined) request.socket.destroy();
      else this.#handle(connection, request, response);
    });
  }

  /** Takes a connection that speaks HTTP/1.1. */
  open(socket: Socket, connection: Connection): void {
    this.#connections.set(socket, connection);
    this.#options.server.emit("connection", socket);
  }

  /** Closes the connections without a request in flight. */
  closeIdle(): void {
    this.#options.server.closeIdleConnections();
  }

  /** Closes all connections. */
  closeAll(): void {
    this.#options.server.closeAllConnections();
  }

  /** Stops the checks of timeouts. */
  stop(): void {
    this.#options.server.close();
  }

  #handle(connection: Connection, request: IncomingMessage, response: ServerResponse): void {
    const openedAt = this.#options.clock.now();
    connection.startRequest();
    response.once("close", () => {
      connection.endRequest();
      if (!connection.isClosedByServer && isHttp1EndedByCaller(response)) {
        this.#chargeDropped(connection, request, openedAt);
      }
    });
    if (connection.isReserved) response.shouldKeepAlive = false;
    connection.handlers.onHttp1Request(request, response);
  }

  #chargeDropped(connection: Connection, { rawHeaders }: IncomingMessage, openedAt: Moment): void {
    const { rapidResetMs, clock, charge } = this.#options;
    if (isGivenUpEarly({ ...openedAt, rawHeaders }, clock.now(), rapidResetMs)) {
      charge(connection, DROPPED_UNITS);
    }
  }
}
