import { readFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { errorMessage, StartupError } from "../../kernel/errors.ts";
import type { ServerLimits } from "./server-limits.ts";

/** The start of the HTTP/2 preface (RFC 9113, 3.4: "PRI * HTTP/2.0"), which no HTTP/1.1 method shares. */
const PREFACE_START = Buffer.from("PRI");

/** The paths of a certificate and its key, in PEM. */
export interface TlsFiles {
  certFile: string;
  keyFile: string;
}

/** Dependencies of the listener. */
export interface ListenerOptions {
  /** Absent: plaintext. */
  tls: TlsFiles | undefined;
  /** Takes a connection that speaks HTTP/1.1. */
  onHttp1(socket: Socket): void;
  /** Takes a connection that speaks HTTP/2. */
  onHttp2(socket: Socket): void;
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
 * @throws StartupError for a certificate or key that cannot be used
 */
export function createListener(options: ListenerOptions): Listener {
  const pending = new Set<Socket>();
  const server =
    options.tls === undefined
      ? createPlainListener(options, pending)
      : createTlsListener(options, options.tls);
  server.maxConnections = options.limits.maxConnections;
  return {
    server,
    closePending() {
      for (const socket of pending) socket.destroy();
    },
  };
}

function createPlainListener({ onHttp1, onHttp2, limits }: ListenerOptions, pending: Set<Socket>): Server {
  return createServer({ noDelay: true }, (socket) => {
    socket.on("error", ignore);
    pending.add(socket);
    const timer = setTimeout(() => socket.destroy(), limits.firstByteMs);
    const endPending = () => {
      clearTimeout(timer);
      pending.delete(socket);
    };
    socket.once("close", endPending);
    detectHttpVersion(socket, undefined, (isHttp2) => {
      endPending();
      if (isHttp2) onHttp2(socket);
      else onHttp1(socket);
    });
  });
}

function createTlsListener({ onHttp1, onHttp2, limits }: ListenerOptions, files: TlsFiles): Server {
  const tlsOptions: TlsOptions = {
    cert: readPem(files.certFile, "TLS_CERT_FILE"),
    key: readPem(files.keyFile, "TLS_KEY_FILE"),
    ALPNProtocols: ["h2", "http/1.1"],
    minVersion: "TLSv1.2",
    handshakeTimeout: limits.firstByteMs,
    noDelay: true,
  };
  try {
    return createTlsServer(tlsOptions, (socket) => {
      socket.on("error", ignore);
      if (socket.alpnProtocol === "h2") onHttp2(socket);
      else onHttp1(socket);
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
