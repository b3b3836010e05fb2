import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP proxy that can break what goes through it. */
export interface TcpProxy {
  port: number;
  /** Ends all connections and refuses new ones. */
  cut(): Promise<void>;
  /** Keeps connections open but passes nothing on, as a dead network does. */
  freeze(): void;
  /** Holds back whatever comes for so long, in order and without a loss, as a far or clogged network does. */
  delay(ms: number): void;
  /** Takes connections again. */
  mend(): Promise<void>;
  close(): Promise<void>;
}

/** Listens on a free port and passes everything on to 127.0.0.1:`target`. */
export async function startTcpProxy(target: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let frozen = false;
  let delayMs = 0;
  const pass = (from: Socket, to: Socket) => {
    let lastMs = 0;
    sockets.add(from);
    from.on("data", (chunk) => {
      if (frozen) return;
      // What is held back already is not overtaken.
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
  const server: Server = createServer((caller) => {
    const backend = connect(target, "127.0.0.1");
    pass(caller, backend);
    pass(backend, caller);
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
      frozen = true;
    },
    delay: (ms) => {
      delayMs = ms;
    },
    async mend() {
      frozen = false;
      delayMs = 0;
      if (!server.listening) await listen(port);
    },
    close: cut,
  };
}
