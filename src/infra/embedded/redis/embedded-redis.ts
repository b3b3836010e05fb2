import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { Redis } from "ioredis";
import { StartupError } from "../../../kernel/errors.ts";
import { run, startChild, type User } from "../child-process.ts";
import { createDataDir, writePrivateFile } from "../data-dir.ts";
import { createEmbeddedStore, type EmbeddedStore, startServer } from "../embedded-store.ts";
import { nobody } from "../postgres/postgres-folder.ts";
import { startValkeyWasm } from "./valkey-wasm.ts";

const READY_WITHIN_MS = 10_000;
const OLDEST_MAJOR = 6;

/** A server from the PATH that we can run. */
interface RedisProgram {
  file: string;
  /** Such as "Redis 8.2.1". */
  name: string;
}

/**
 * Starts a Redis-protocol server of our own: `redis-server` or `valkey-server` from the PATH, else Valkey as
 * WebAssembly in a thread. It listens on a free port of 127.0.0.1, asks for a password, keeps 256 MB at most
 * and nothing between starts, and ends when this process does, in whatever way. `<dataDir>/redis.url` has the
 * address for redis-cli, and `<dataDir>/redis.log` what it says since this start.
 *
 * @param kind forces one of the two (tests)
 * @throws StartError when there is none, or it cannot be started
 */
export async function startEmbeddedRedis(o: {
  dataDir: string;
  kind?: "native" | "wasm";
}): Promise<EmbeddedStore> {
  const dataDir = await createDataDir(o.dataDir);
  const user = process.getuid?.() === 0 ? await nobody() : undefined;
  const program = o.kind === "wasm" ? undefined : await findProgram(user);
  if (program === undefined && o.kind === "native") {
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
  program: RedisProgram,
  user: User | undefined,
  password: string,
  logFile: string,
): Promise<EmbeddedStore> {
  const { file, name } = program;
  const urlOf = (port: number) => `redis://:${password}@127.0.0.1:${port}`;
  const { port, server } = await startServer({
    name,
    logFile,
    advice: "Mend that, or set REDIS_URL.",
    spawn: (port, logFd) => startChild([file, "-"], { user, logFd, input: configuration(port, password) }),
    answers: (port, signal) => untilPong(urlOf(port), signal),
  });
  const description = `${name} in memory (${file}, 127.0.0.1:${port})`;
  return createEmbeddedStore({ url: urlOf(port), description, name, logFile, server });
}

const configuration = (port: number, password: string) => `
bind 127.0.0.1
port ${port}
requirepass ${password}
# Limits and cached answers only: what is lost is counted or read again.
save ""
appendonly no
maxmemory 256mb
maxmemory-policy allkeys-lru
`;

async function findProgram(user: User | undefined): Promise<RedisProgram | undefined> {
  if (process.platform === "win32") return undefined;
  for (const command of ["redis-server", "valkey-server"]) {
    for (const folder of (process.env.PATH ?? "").split(delimiter).filter(isAbsolute)) {
      const program = await tryOut(join(folder, command), user);
      if (program !== undefined) return program;
    }
  }
  return undefined;
}

async function tryOut(file: string, user: User | undefined): Promise<RedisProgram | undefined> {
  try {
    await access(file, constants.X_OK);
  } catch {
    return undefined;
  }
  const { ok, output } = await run(file, ["--version"], user);
  const [, kind, version] = /^(Redis|Valkey) server v=([\d.]+)/i.exec(output) ?? [];
  if (!ok || kind === undefined || version === undefined) return undefined;
  return Number.parseInt(version, 10) >= OLDEST_MAJOR ? { file, name: `${kind} ${version}` } : undefined;
}

async function untilPong(url: string, signal: AbortSignal): Promise<void> {
  const until = Date.now() + READY_WITHIN_MS;
  const client = new Redis(url, {
    retryStrategy: () => (signal.aborted || Date.now() > until ? null : 20),
    maxRetriesPerRequest: null,
  });
  client.on("error", () => {}); // it is not there yet
  try {
    await client.ping();
  } finally {
    client.disconnect();
  }
}
