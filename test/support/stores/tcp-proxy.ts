import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP proxy whose connections can be broken, frozen, delayed and redirected. */
export interface TcpProxy {
  port: number;
  /** Closes all connections and rejects new ones. */
  cut(): Promise<void>;
  /** Keeps connections open but discards all data, as a dead network does. */
  freeze(): void;
  /** Leads new connections to another port; open ones stay. */
  redirect(port: number): void;
  /** Delays all data, in order and without loss, as a slow network does. */
  delay(ms: number): void;
  /** Ends all faults: accepts connections and forwards data again. */
  restore(): Promise<void>;
  close(): Promise<void>;
}

/** Listens on a free port of 127.0.0.1 and forwards to `targetPort` of 127.0.0.1. */
export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let currentPort = targetPort;
  let isFrozen = false;
  let delayMs = 0;
  const forward = (from: Socket, to: Socket) => {
    let lastMs = 0;
    sockets.add(from);
    from.on("data", (chunk) => {
      if (isFrozen) return;
      // Data never overtakes data that is still delayed.
      const atMs = Math.max(lastMs, performance.now() + delayMs);
      lastMs = atMs;
      if (atMs <= performance.now()) to.write(chunk);
      else setTimeout(() => to.write(chunk), atMs - performance.now());
    });
    from.on("error", () => {});
    from.on("close", () => {
      sockets.delete(from);
      to.destroy();
    });
  };
  const server: Server = createServer((client) => {
    const target = connect(currentPort, "127.0.0.1");
    forward(client, target);
    forward(target, client);
  });
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
  await listen(0);
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  const cut = async () => {
    const closed = server.listening ? new Promise((resolve) => server.close(resolve)) : Promise.resolve();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    port,
    cut,
    freeze: () => {
      isFrozen = true;
    },
    redirect: (to) => {
      currentPort = to;
    },
    delay: (ms) => {
      delayMs = ms;
    },
    async restore() {
      isFrozen = false;
      delayMs = 0;
      if (!server.listening) await listen(port);
    },
    close: cut,
  };
}
