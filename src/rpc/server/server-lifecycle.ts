import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../../kernel/log.ts";
import type { HttpConnections } from "./connections/http-connections.ts";
import type { Listener } from "./connections/listener.ts";
import { type BoundPort, bindPort } from "./startup/bind-port.ts";

/** A server that can be started and stopped. */
export interface Server {
  /**
   * Serves connections, and returns the address.
   * @throws StartupError when the address cannot be bound
   */
  listen(): Promise<{ url: string; port: number; adminUrl: string | undefined }>;
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
  /** The port for health checks. It is served until everything else has stopped. */
  admin: { port: number; boundPort: BoundPort | undefined; listener: Listener } | undefined;
  connections: HttpConnections;
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
  const { address, listener, admin, connections, drain, stopIdleMs, log } = options;
  const sockets = new Set<Socket>();
  for (const { server } of admin === undefined ? [listener] : [listener, admin.listener]) {
    server.on("connection", (socket) => {
      if (socket.destroyed) return; // refused
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    });
  }

  const stop = async (graceMs: number): Promise<void> => {
    drain.abort();
    const allClosed = new Promise<void>((resolve) => {
      listener.server.close(() => resolve());
    });
    listener.closePending();
    connections.closeSessions();
    const startedAtMs = performance.now();
    const idleCheck = setInterval(() => {
      if (performance.now() - startedAtMs >= stopIdleMs) connections.closeIdleHttp1();
    }, IDLE_CHECK_MS);
    await Promise.race([allClosed, sleep(graceMs, undefined, { ref: false })]);
    clearInterval(idleCheck);
    connections.stop();
    admin?.listener.server.close();
    for (const socket of sockets) socket.destroy();
    await Promise.race([allClosed, sleep(DESTROY_MS, undefined, { ref: false })]);
    await boundPort?.close();
    await boundAdminPort?.close();
  };

  let stopping: Promise<void> | undefined;
  let { boundPort } = options;
  let boundAdminPort = admin?.boundPort;
  return {
    async listen() {
      boundPort ??= await bindPort({ ...address, log });
      await boundPort.serve(listener.server);
      listener.server.on("error", (error) => log.error({ err: error }, "Listener failed"));
      const { hostName, port } = boundPort;
      const url = `http${address.isSecure ? "s" : ""}://${hostName}:${port}`;
      if (admin === undefined) return { url, port, adminUrl: undefined };
      boundAdminPort ??= await bindPort({
        host: address.host,
        port: admin.port,
        portVariable: "ADMIN_PORT",
        log,
      });
      await boundAdminPort.serve(admin.listener.server);
      admin.listener.server.on("error", (error) => log.error({ err: error }, "Admin listener failed"));
      return { url, port, adminUrl: `http://${hostName}:${boundAdminPort.port}` };
    },
    close(graceMs) {
      stopping ??= stop(graceMs);
      return stopping;
    },
  };
}
