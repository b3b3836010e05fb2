import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { Redis } from "ioredis";

/** A redis-server process that can be broken without affecting other tests. */
export interface RedisServer {
  port: number;
  url: string;
  /** Stops the process without closing its connections, as a swapping machine does. */
  freeze(): void;
  /** Continues a frozen process. */
  thaw(): void;
  /** Kills the process; its data is lost. */
  kill(): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
  /** Sends a command, such as `FLUSHALL`, over a new connection. */
  command(name: string, ...args: string[]): Promise<unknown>;
  stop(): Promise<void>;
}

/**
 * Starts `redis-server` on a free port.
 * @param folder folder for snapshots; without it, it writes none
 */
export async function startRedisServer(folder?: string): Promise<RedisServer> {
  const port = await findFreePort();
  const url = `redis://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;
  const start = async () => {
    const dir = folder === undefined ? [] : ["--dir", folder];
    const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", ...dir];
    child = spawn("redis-server", args, { stdio: "ignore" });
    await command("ping");
  };
  const command = async (name: string, ...args: string[]): Promise<unknown> => {
    const client = new Redis(url, { retryStrategy: () => 10, maxRetriesPerRequest: null });
    client.on("error", () => {}); // The server may still be starting.
    try {
      return await client.call(name, ...args);
    } finally {
      client.disconnect();
    }
  };
  const kill = async () => {
    if (child === undefined) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    child = undefined;
    await exited;
  };
  // A test that fails may not stop the server.
  const killAtExit = () => void child?.kill("SIGKILL");
  process.once("exit", killAtExit);
  await start();
  return {
    port,
    url,
    start,
    kill,
    command,
    freeze: () => void child?.kill("SIGSTOP"),
    thaw: () => void child?.kill("SIGCONT"),
    async stop() {
      await kill();
      process.off("exit", killAtExit);
    },
  };
}

async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  return address !== null && typeof address === "object" ? address.port : 0;
}
