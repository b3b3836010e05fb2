import { readFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { StartupError } from "../../kernel/errors.ts";
import type { ServerLimits } from "./server-limits.ts";

/** How every HTTP/2 connection begins (RFC 9113, 3.4: "PRI * HTTP/2.0"). No other method starts like it. */
const prefaceStart = Buffer.from("PRI");

export interface ListenerOptions {
  /** Absent: plaintext. */
  tls: { certFile: string; keyFile: string } | undefined;
  /** Where connections go once it is known what they speak. */
  http1(socket: Socket): void;
  http2(socket: Socket): void;
  limits: ServerLimits;
}

export interface Listener {
  server: Server;
  /** Ends connections that have not said anything yet. */
  closeSilent(): void;
}

/**
 * One port for HTTP/1.1 and HTTP/2. With TLS the handshake says which (ALPN), without it the first bytes do.
 * @throws StartError for a certificate or key that cannot be used
 */
export function createListener(options: ListenerOptions): Listener {
  const silent = new Set<Socket>();
  const server = options.tls === undefined ? createPlain(options, silent) : createTls(options, options.tls);
  server.maxConnections = options.limits.maxConnections;
  return {
    server,
    closeSilent: () => {
      for (const socket of silent) socket.destroy();
    },
  };
}

function createPlain({ http1, http2, limits }: ListenerOptions, silent: Set<Socket>): Server {
  return createServer({ noDelay: true }, (socket) => {
    socket.on("error", ignore);
    silent.add(socket);
    const timer = setTimeout(() => socket.destroy(), limits.firstByteMs);
    const settle = () => {
      clearTimeout(timer);
      silent.delete(socket);
    };
    socket.once("close", settle);
    sniff(socket, undefined, (isHttp2) => {
      settle();
      if (isHttp2) http2(socket);
      else http1(socket);
    });
  });
}

function createTls(
  { http1, http2, limits }: ListenerOptions,
  files: { certFile: string; keyFile: string },
): Server {
  const cert = readPem(files.certFile, "TLS_CERT_FILE");
  const key = readPem(files.keyFile, "TLS_KEY_FILE");
  const tlsOptions: TlsOptions = {
    cert,
    key,
    ALPNProtocols: ["h2", "http/1.1"],
    minVersion: "TLSv1.2",
    handshakeTimeout: limits.firstByteMs,
    noDelay: true,
  };
  try {
    return createTlsServer(tlsOptions, (socket) => {
      socket.on("error", ignore);
      if (socket.alpnProtocol === "h2") http2(socket);
      else http1(socket);
    });
  } catch (error) {
    throw new StartupError(`TLS_CERT_FILE and TLS_KEY_FILE cannot be used: ${reasonOf(error)}`);
  }
}

/**
 * Looks at the first bytes of a connection and leaves them in it.
 * @param seen what was read before, too little to tell
 */
function sniff(socket: Socket, seen: Buffer | undefined, decide: (isHttp2: boolean) => void): void {
  // By 'readable' and not by 'data': a socket that flows would lose bytes on its way to HTTP/2.
  socket.once("readable", () => {
    const chunk: Buffer | null = socket.read();
    if (chunk === null) {
      if (socket.readableEnded || socket.destroyed) socket.destroy();
      else sniff(socket, seen, decide);
      return;
    }
    const bytes = seen === undefined ? chunk : Buffer.concat([seen, chunk]);
    const length = Math.min(bytes.length, prefaceStart.length);
    const alike = bytes.compare(prefaceStart, 0, length, 0, length) === 0;
    if (alike && length < prefaceStart.length) {
      sniff(socket, bytes, decide);
      return;
    }
    socket.unshift(bytes);
    decide(alike);
  });
}

function readPem(file: string, name: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new StartupError(`${name}: ${reasonOf(error)}`);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function ignore(): void {}
