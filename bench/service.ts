import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { startTied } from "../src/infra/embedded/process.ts";
import { StartError } from "../src/kernel/errors.ts";
import { seedShop } from "../src/seed/seed.ts";

/** A service of its own process, on stores of its own that are removed with it. */
export interface ScratchService {
  /** Such as http://127.0.0.1:40123. */
  url: string;
  /** What its stores are, such as "PostgreSQL 18.4". */
  stores: string;
  close(): Promise<void>;
}

const STARTS_WITHIN_MS = 60_000;

/**
 * Starts the service as a stranger would, with nothing given, and fills it. It ends with this process, in
 * whatever way, and so do its stores.
 */
export async function startService(products: number): Promise<ScratchService> {
  const folder = await mkdtemp(join(tmpdir(), "cartwright-bench-"));
  const logFile = join(folder, "service.log");
  const log = await open(logFile, "a");
  const environment = ["HOST=127.0.0.1", "PORT=0", `DATA_DIR=${folder}`, "SEED_DEMO=off"];
  const main = resolve(import.meta.dirname, "../src/main.ts");
  const service = startTied(["/usr/bin/env", ...environment, process.execPath, main], { logFd: log.fd });
  const close = async () => {
    await service.stop();
    await log.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void close().finally(() => process.exit(1)));
  }
  try {
    const ended = service.ended.then(async ({ text }) => {
      throw new StartError(`The service ended (${text}):\n${await readFile(logFile, "utf8")}`);
    });
    ended.catch(() => {});
    const listening = await Promise.race([untilListening(logFile), ended]);
    console.log(`seeding ${products.toLocaleString("en")} products ...`);
    const databaseUrl = (await readFile(join(folder, "postgres.url"), "utf8")).trim();
    await seedShop({ url: databaseUrl, products, customers: 1_000 });
    return { ...listening, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The line that says so, as the service writes it where there is no terminal. */
async function untilListening(logFile: string): Promise<{ url: string; stores: string }> {
  for (const end = Date.now() + STARTS_WITHIN_MS; Date.now() < end; await delay(50)) {
    const lines = (await readFile(logFile, "utf8")).split("\n");
    const line = lines.find((text) => text.startsWith("{") && text.includes("listening"));
    if (line === undefined) continue;
    const { address, started } = JSON.parse(line) as { address: string; started: string[] };
    // Each begins with its name and version; the rest says where it is on this machine.
    return { url: address, stores: started.map((text) => /^\S+ [\d.]+/.exec(text)?.[0] ?? "").join(", ") };
  }
  throw new StartError(`The service does not listen after ${STARTS_WITHIN_MS / 1_000} s.`);
}
