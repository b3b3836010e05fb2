import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Connection } from "./connection.ts";

/** The HTTP/1.1 connections of a server. */
export class Http1Connections {
  readonly #server: Server;
  readonly #connections = new WeakMap<Socket, Connection>();

  constructor(server: Server) {
    this.#server = server;
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      const connection = this.#connections.get(request.socket);
      if (connection === undefined) request.socket.destroy();
      else handle(connection, request, response);
    });
  }

  /** Takes a connection that speaks HTTP/1.1. */
  open(socket: Socket, connection: Connection): void {
    this.#connections.set(socket, connection);
    this.#server.emit("connection", socket);
  }

  /** Closes the connections without a request in flight. */
  closeIdle(): void {
    this.#server.closeIdleConnections();
  }

  /** Closes all connections. */
  closeAll(): void {
    this.#server.closeAllConnections();
  }

  /** Stops the checks of timeouts. */
  stop(): void {
    this.#server.close();
  }
}

function handle(connection: Connection, request: IncomingMessage, response: ServerResponse): void {
  connection.startRequest();
  response.once("close", () => connection.endRequest());
  if (connection.isReserved) response.shouldKeepAlive = false;
  connection.handlers.onHttp1Request(request, response);
}
