import { startChild } from "../../../src/infra/embedded/child-process.ts";
import { lockDataDir } from "../../../src/infra/embedded/data-dir.ts";
import { startEmbeddedPostgres } from "../../../src/infra/embedded/postgres/embedded-postgres.ts";
import { startEmbeddedRedis } from "../../../src/infra/embedded/redis/embedded-redis.ts";
import { query } from "./query.ts";

// A program that starts stores as the service does, for tests that kill it.

/** The first argument, as JSON. */
export interface ProgramSettings {
  dataDir: string;
  /** Whether Redis is started, and which kind. Defaults to none. */
  redis?: "native" | "wasm";
  /** Whether it only acquires the lock of the data folder. */
  lockOnly?: boolean;
  /** Runs a command that ignores all signals that can be ignored, with a child that does too, and nothing else. */
  ignoreSignals?: boolean;
  /** Lets the process end without stopping the stores. */
  exitImmediately?: boolean;
}

/** The first line of output, as JSON, once the stores are running. */
export interface ProgramOutput {
  postgres: string;
  description: string;
  redis?: string;
}

async function main(settings: ProgramSettings): Promise<void> {
  const { dataDir } = settings;
  await lockDataDir(dataDir);
  if (settings.lockOnly) {
    console.log("{}");
    setInterval(() => {}, 1_000);
    return;
  }
  if (settings.ignoreSignals) {
    const child = `/bin/sh -c "sleep 60; :" ${dataDir}/postgres; :`;
    startChild(["/bin/sh", "-c", `trap "" INT TERM QUIT; ${child}`], { logFd: 1, graceMs: 200 });
    console.log("{}");
    return;
  }
  const postgres = await startEmbeddedPostgres({ dataDir, database: "shop" });
  const redis = settings.redis && (await startEmbeddedRedis({ dataDir, kind: settings.redis }));
  console.log(
    JSON.stringify({ postgres: postgres.url, description: postgres.description, redis: redis?.url }),
  );
  if (settings.exitImmediately) return;
  setInterval(() => {}, 1_000);
  process.once("SIGINT", async () => {
    // A call in flight finishes first.
    const rows = await query(postgres.url, "SELECT 'drained' AS state FROM pg_sleep(0.3)");
    console.log(JSON.stringify(rows));
    await redis?.stop();
    await postgres.stop();
    process.exit(0);
  });
}

if (import.meta.main) {
  main(JSON.parse(process.argv[2] ?? "{}")).catch((error: unknown) => {
    console.error(error instanceof Error ? `${error.name}: ${error.message}` : error);
    process.exit(1);
  });
}
