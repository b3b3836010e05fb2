import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { Redis } from "ioredis";

/** A redis-server of a test's own, for faults that are not to hit other tests. */
export interface RedisServer {
  port: number;
  url: string;
  /** Stops it without closing anything, as a swapping machine does, and lets it go on. */
  freeze(): void;
  thaw(): void;
  /** Ends it without a word, with all that it keeps. */
  kill(): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
  /** Sends one command, such as `FLUSHALL`, over a connection of its own. */
  command(name: string, ...words: string[]): Promise<unknown>;
  stop(): Promise<void>;
}

/** Starts `redis-server` on a free port. @param folder where it keeps a snapshot; absent: it keeps none */
export async function startRedisServer(folder?: string): Promise<RedisServer> {
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;
  const start = async () => {
    const where = folder === undefined ? [] : ["--dir", folder];
    const words = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", ...where];
    child = spawn("redis-server", words, { stdio: "ignore" });
    await command("ping");
  };
  const command = async (name: string, ...words: string[]): Promise<unknown> => {
    const client = new Redis(url, { retryStrategy: () => 10, maxRetriesPerRequest: null });
    client.on("error", () => {}); // it may still be on its way
    try {
      return await client.call(name, ...words);
    } finally {
      client.disconnect();
    }
  };
  const kill = async () => {
    if (child === undefined) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    child = undefined;
    await ended;
  };
  // A test that fails may never come to stop it.
  process.once("exit", () => void child?.kill("SIGKILL"));
  await start();
  return {
    port,
    url,
    start,
    kill,
    command,
    freeze: () => void child?.kill("SIGSTOP"),
    thaw: () => void child?.kill("SIGCONT"),
    stop: kill,
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  return address !== null && typeof address === "object" ? address.port : 0;
}
