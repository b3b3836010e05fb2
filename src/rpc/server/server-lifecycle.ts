import type { Server as Http1Server } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../../kernel/log.ts";
import type { Http2Sessions } from "./http2-sessions.ts";
import type { Listener } from "./listener.ts";
import { type BoundPort, bindPort } from "./startup/bind-port.ts";

/** A server that can be started and stopped. */
export interface Server {
  /**
   * Serves connections, and returns the address.
   * @throws StartupError when the address cannot be bound
   */
  listen(): Promise<{ url: string; port: number }>;
  /**
   * Stops gracefully: health reports NOT_SERVING, new connections are rejected, GOAWAY or "connection: close" is sent,
   * calls in flight finish. After `graceMs` milliseconds the rest is aborted. A second call waits for the first.
   */
  close(graceMs: number): Promise<void>;
}

/** Dependencies of the lifecycle of a server. */
export interface LifecycleOptions {
  address: { host: string; port: number; isSecure: boolean };
  /** A port that is bound already. Absent: `address` is bound when the server listens. */
  boundPort: BoundPort | undefined;
  listener: Listener;
  http1: Http1Server;
  http2Sessions: Http2Sessions;
  /** Aborted when the stop begins. */
  drain: AbortController;
  /** Time for which idle HTTP/1.1 connections stay open when the stop begins, in milliseconds. */
  stopIdleMs: number;
  log: Log;
}

/** The interval at which a stop closes idle HTTP/1.1 connections, in milliseconds. */
const IDLE_CHECK_MS = 50;

/** Longest wait for destroyed sockets to close, in milliseconds. */
const DESTROY_MS = 1_000;

/** Creates the start and stop of a server from its parts. */
export function createLifecycle(options: LifecycleOptions): Server {
  const { address, listener, http1, http2Sessions, drain, stopIdleMs, log } = options;
  const sockets = new Set<Socket>();
  listener.server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", ignore);
    socket.once("close", () => sockets.delete(socket));
  });

  const stop = async (graceMs: number): Promise<void> => {
    drain.abort();
    const allClosed = new Promise<void>((resolve) => {
      listener.server.close(() => resolve());
    });
    listener.closePending();
    http2Sessions.closeAll();
    const startedAtMs = performance.now();
    const idleCheck = setInterval(() => {
      if (performance.now() - startedAtMs >= stopIdleMs) http1.closeIdleConnections();
    }, IDLE_CHECK_MS);
    await Promise.race([allClosed, sleep(graceMs, undefined, { ref: false })]);
    clearInterval(idleCheck);
    http1.close();
    for (const socket of sockets) socket.destroy();
    await Promise.race([allClosed, sleep(DESTROY_MS, undefined, { ref: false })]);
    await boundPort?.close();
  };

  let stopping: Promise<void> | undefined;
  let { boundPort } = options;
  return {
    async listen() {
      boundPort ??= await bindPort({ ...address, log });
      await boundPort.serve(listener.server);
      listener.server.on("error", (error) => log.error({ err: error }, "Listener failed"));
      const { hostName, port } = boundPort;
      return { url: `http${address.isSecure ? "s" : ""}://${hostName}:${port}`, port };
    },
    close(graceMs) {
      stopping ??= stop(graceMs);
      return stopping;
    },
  };
}

function ignore(): void {}
