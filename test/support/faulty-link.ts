import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP proxy that can break what goes through it. */
export interface FaultyLink {
  port: number;
  /** Ends all connections and refuses new ones. */
  cut(): Promise<void>;
  /** Keeps connections open but passes nothing on, as a dead network does. */
  freeze(): void;
  /** Takes connections again. */
  mend(): Promise<void>;
  close(): Promise<void>;
}

/** Listens on a free port and passes everything on to 127.0.0.1:`target`. */
export async function startFaultyLink(target: number): Promise<FaultyLink> {
  const sockets = new Set<Socket>();
  let frozen = false;
  const pass = (from: Socket, to: Socket) => {
    sockets.add(from);
    from.on("data", (chunk) => {
      if (!frozen) to.write(chunk);
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
    async mend() {
      frozen = false;
      if (!server.listening) await listen(port);
    },
    close: cut,
  };
}
