import { once } from "node:events";
import type { Server as Http1Server } from "node:http";
import { isIPv6, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { StartupError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import type { Http2Sessions } from "./http2-sessions.ts";
import type { Listener } from "./listener.ts";

export interface Server {
  /** @throws StartError when the address cannot be listened on */
  listen(): Promise<{ url: string; port: number }>;
  /**
   * Stops: health says NOT_SERVING, no new connections, callers are told to go elsewhere, calls in flight
   * finish. What is left after `graceMs` is cut off. A second call waits for the first.
   */
  close(graceMs: number): Promise<void>;
}

export interface LifecycleOptions {
  address: { host: string; port: number; secure: boolean };
  port: Listener;
  http1: Http1Server;
  sessions: Http2Sessions;
  /** Aborted when the stop begins. */
  drain: AbortController;
  log: Log;
}

/** How often HTTP/1.1 connections are looked at, during a stop, for those whose last call has finished. */
const lookMs = 50;

/**
 * How long such a connection stays open when a stop begins. A caller who is just writing its next request
 * could not know whether that was read; in this time it is answered, and told to connect elsewhere.
 */
const idleMs = 200;

/** How long a destroyed socket may take to go. */
const destroyMs = 1_000;

/** Starts and stops a server whose parts are put together. */
export function createLifecycle({ address, port, http1, sessions, drain, log }: LifecycleOptions): Server {
  const sockets = new Set<Socket>();
  port.server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", ignore);
    socket.once("close", () => sockets.delete(socket));
  });

  const stop = async (graceMs: number): Promise<void> => {
    drain.abort();
    const allClosed = new Promise<void>((resolve) => {
      port.server.close(() => resolve());
    });
    port.closeSilent();
    sessions.closeAll();
    const startedAtMs = performance.now();
    const look = setInterval(() => {
      if (performance.now() - startedAtMs >= idleMs) http1.closeIdleConnections();
    }, lookMs);
    await Promise.race([allClosed, sleep(graceMs, undefined, { ref: false })]);
    clearInterval(look);
    http1.close();
    for (const socket of sockets) socket.destroy();
    await Promise.race([allClosed, sleep(destroyMs, undefined, { ref: false })]);
  };

  let stopping: Promise<void> | undefined;
  return {
    listen: async () => {
      const { host } = address;
      const name = isIPv6(host) ? `[${host}]` : host;
      port.server.listen({ host, port: address.port });
      try {
        await once(port.server, "listening");
      } catch (error) {
        throw new StartupError(`Cannot listen on ${name}:${address.port}: ${reasonOf(error)}`);
      }
      port.server.on("error", (error) => log.error({ err: error }, "The listening socket failed"));
      const bound = port.server.address();
      if (bound === null || typeof bound === "string")
        throw new StartupError(`${host} is no network address`);
      return { url: `http${address.secure ? "s" : ""}://${name}:${bound.port}`, port: bound.port };
    },
    close: (graceMs) => {
      stopping ??= stop(graceMs);
      return stopping;
    },
  };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if ("code" in error && error.code === "EADDRINUSE") return "another process has this port. Set PORT.";
  return error.message;
}

function ignore(): void {}
