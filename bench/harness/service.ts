import { mkdtemp, open as openFile, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { startChild } from "../../src/infra/embedded/child-process.ts";
import { StartupError } from "../../src/kernel/errors.ts";

/** A service in a child process. It ends with this process, and so do its embedded stores. */
export interface Service {
  /** The address, such as http://127.0.0.1:40123. */
  url: string;
  /** The versions of its embedded stores, such as "PostgreSQL 18.4". */
  stores: string;
  databaseUrl: string;
  redisUrl: string;
  /** The id of its process. */
  pid: number;
  /** Returns the highest resident memory of the process so far, MB; NaN without /proc. */
  peakMemoryMb(): Promise<number>;
  close(): Promise<void>;
}

const STARTS_WITHIN_MS = 60_000;

/**
 * Starts the service with `settings` only, with access control and rate limits off. Without DATABASE_URL and REDIS_URL
 * it has empty embedded stores, which are removed at the end.
 * @throws StartupError with the log when the service does not start
 */
export async function startService(settings: Readonly<Record<string, string>>): Promise<Service> {
  const folder = await mkdtemp(join(tmpdir(), "cartwright-bench-"));
  const logFile = join(folder, "service.log");
  const log = await openFile(logFile, "a");
  const unrestricted = { ACCESS: "off", LIMITS: "off", SEED_DEMO: "off" };
  const variables = { HOST: "127.0.0.1", PORT: "0", DATA_DIR: folder, ...unrestricted, ...settings };
  const environment = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  const main = resolve(import.meta.dirname, "../../src/main.ts");
  const pidFile = join(folder, "service.pid");
  const writePid = ["/bin/sh", "-c", 'echo $$ > "$0"; exec "$@"', pidFile];
  const command = [...writePid, "/usr/bin/env", ...environment, process.execPath, main];
  const service = startChild(command, { logFd: log.fd });
  const close = async () => {
    await service.stop();
    await log.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const ended = service.ended.then(async ({ text }) => {
      throw new StartupError(`The service ended (${text}):\n${await readFile(logFile, "utf8")}`);
    });
    ended.catch(() => {});
    const listening = await Promise.race([untilListening(logFile), ended]);
    const addressOf = async (store: string) =>
      (await readFile(join(folder, `${store}.url`), "utf8").catch(() => "")).trim();
    return {
      ...listening,
      pid: Number(await readFile(pidFile, "utf8")),
      databaseUrl: settings.DATABASE_URL ?? (await addressOf("postgres")),
      redisUrl: settings.REDIS_URL ?? (await addressOf("redis")),
      peakMemoryMb: () => peakMemoryMb(`DATA_DIR=${folder}`),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Waits for the log line that announces the address. */
async function untilListening(logFile: string): Promise<{ url: string; stores: string }> {
  for (const end = Date.now() + STARTS_WITHIN_MS; Date.now() < end; await delay(50)) {
    const lines = (await readFile(logFile, "utf8")).split("\n");
    const line = lines.find((text) => text.startsWith("{") && text.includes("listening"));
    if (line === undefined) continue;
    const { address, started } = JSON.parse(line) as { address: string; started: string[] };
    // Each line begins with name and version; the rest is a path of this machine.
    return { url: address, stores: started.map((text) => /^\S+ [\d.]+/.exec(text)?.[0] ?? "").join(", ") };
  }
  throw new StartupError(`The service does not listen after ${STARTS_WITHIN_MS / 1_000} s.`);
}

/** Returns the highest resident memory of the service whose environment has a variable, MB. */
async function peakMemoryMb(variable: string): Promise<number> {
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    const [environment, command, status] = await Promise.all(
      ["environ", "cmdline", "status"].map((file) =>
        readFile(`/proc/${pid}/${file}`, "utf8").catch(() => ""),
      ),
    );
    const isService = environment?.split("\0").includes(variable) && command?.includes("src/main.ts");
    if (isService) return Number(/^VmHWM:\s+(\d+) kB/m.exec(status ?? "")?.[1]) / 1_000;
  }
  return Number.NaN;
}
