import { readFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type Server as TlsServer } from "node:tls";
import { errorMessage, StartupError } from "../../../kernel/errors.ts";
import type { ServerLimits } from "../server-limits.ts";
import type { Connection } from "./connection.ts";
import type { OpeningQueue } from "./opening-queue.ts";

/** The start of the HTTP/2 preface (RFC 9113, 3.4: "PRI * HTTP/2.0"), which no HTTP/1.1 method shares. */
const PREFACE_START = Buffer.from("PRI");

/**
 * Connections that have been closed and that Node still counts: their sockets close after the connections that arrived
 * in the same turn of the event loop have been accepted.
 */
export const MAX_CLOSING = 128;

/** The paths of a certificate and its key, in PEM. */
export interface TlsFiles {
  certFile: string;
  keyFile: string;
}

/** Takes a connection whose version of HTTP is decided. */
export type OnConnection = (socket: Socket, connection: Connection) => void;

/** Dependencies of the listener. */
export interface ListenerOptions {
  /** Absent: plaintext. */
  tls: TlsFiles | undefined;
  /** Returns the connection of a socket; undefined when it is refused, and destroyed. */
  accept(socket: Socket): Connection | undefined;
  opening: OpeningQueue;
  /** The most connections that `accept` returns. Node closes many more than that without creating their sockets. */
  maxConnections: number;
  onHttp1: OnConnection;
  onHttp2: OnConnection;
  limits: ServerLimits;
}

/** One port for HTTP/1.1 and HTTP/2. */
export interface Listener {
  server: Server;
  /** Closes connections that have not sent anything yet. */
  closePending(): void;
}

/**
 * Creates the listener. With TLS the handshake decides the version of HTTP (ALPN), without it the first bytes do.
 * Refused connections are closed before either.
 * @throws StartupError for a certificate or key that cannot be used
 */
export function createListener(options: ListenerOptions): Listener {
  const { tls, accept, opening, maxConnections, limits } = options;
  const pending = new Set<Socket>();
  const openSecure = tls === undefined ? undefined : createTlsHandshake(options, tls);
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", ignore);
    const connection = accept(socket);
    if (connection === undefined) return;
    if (openSecure !== undefined) {
      opening.push(connection.peer, () => socket.destroyed || openSecure(socket, connection));
      return;
    }
    pending.add(socket);
    const timer = setTimeout(() => socket.destroy(), limits.firstByteMs);
    const endPending = () => {
      clearTimeout(timer);
      pending.delete(socket);
    };
    socket.once("close", endPending);
    detectHttpVersion(socket, undefined, (isHttp2) => {
      if (isHttp2 && connection.isIndebted) {
        socket.resetAndDestroy();
        return;
      }
      opening.push(connection.peer, () => {
        endPending();
        if (socket.destroyed) return;
        if (isHttp2) options.onHttp2(socket, connection);
        else options.onHttp1(socket, connection);
      });
    });
  });
  server.maxConnections = maxConnections + MAX_CLOSING;
  return {
    server,
    closePending() {
      for (const socket of pending) socket.destroy();
    },
  };
}

/** Creates the function that starts a TLS handshake and passes the connection on when it is complete. */
function createTlsHandshake({ onHttp1, onHttp2, limits }: ListenerOptions, files: TlsFiles): OnConnection {
  const handshakes = new Map<string, Connection>();
  const onSecure = (socket: Socket & { alpnProtocol: string | false | null }): void => {
    socket.on("error", ignore);
    const connection = handshakes.get(connectionKey(socket));
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    connection.socket = socket;
    if (socket.alpnProtocol === "h2") onHttp2(socket, connection);
    else onHttp1(socket, connection);
  };
  const server = createTlsServerOf(files, limits.firstByteMs, ["h2", "http/1.1"]);
  const indebtedServer = createTlsServerOf(files, limits.firstByteMs, ["http/1.1"]);
  server.on("secureConnection", onSecure);
  indebtedServer.on("secureConnection", onSecure);
  return (socket, connection) => {
    const key = connectionKey(socket);
    handshakes.set(key, connection);
    socket.once("close", () => handshakes.delete(key));
    (connection.isIndebted ? indebtedServer : server).emit("connection", socket);
  };
}

/** Returns what identifies a TCP connection, since the socket of TLS does not refer to the one that it wraps. */
function connectionKey({ localAddress, remoteAddress, remotePort }: Socket): string {
  return `${localAddress} ${remoteAddress} ${remotePort}`;
}

function createTlsServerOf(
  files: TlsFiles,
  handshakeTimeout: number,
  alpnProtocols: readonly string[],
): TlsServer {
  const cert = readPem(files.certFile, "TLS_CERT_FILE");
  const key = readPem(files.keyFile, "TLS_KEY_FILE");
  try {
    return createTlsServer({
      cert,
      key,
      ALPNProtocols: [...alpnProtocols],
      minVersion: "TLSv1.2",
      handshakeTimeout,
    });
  } catch (error) {
    throw new StartupError(`TLS_CERT_FILE and TLS_KEY_FILE cannot be used: ${errorMessage(error)}`);
  }
}

/**
 * Reads the first bytes of a connection, puts them back and reports the version of HTTP.
 * @param received the bytes that were too few to decide
 */
function detectHttpVersion(
  socket: Socket,
  received: Buffer | undefined,
  onDetected: (isHttp2: boolean) => void,
): void {
  // By 'readable' and not by 'data': a flowing socket would lose bytes on its way to HTTP/2.
  socket.once("readable", () => {
    const chunk: Buffer | null = socket.read();
    if (chunk === null) {
      if (socket.readableEnded || socket.destroyed) socket.destroy();
      else detectHttpVersion(socket, received, onDetected);
      return;
    }
    const bytes = received === undefined ? chunk : Buffer.concat([received, chunk]);
    const length = Math.min(bytes.length, PREFACE_START.length);
    const isPreface = bytes.compare(PREFACE_START, 0, length, 0, length) === 0;
    if (isPreface && length < PREFACE_START.length) {
      detectHttpVersion(socket, bytes, onDetected);
      return;
    }
    socket.unshift(bytes);
    onDetected(isPreface);
  });
}

function readPem(file: string, variable: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new StartupError(`${variable}: ${errorMessage(error)}`);
  }
}

function ignore(): void {}
