import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { run, startChild, type User } from "../../../src/infra/embedded/child-process.ts";
import { lockDataDir } from "../../../src/infra/embedded/data-dir.ts";
import { startEmbeddedPostgres } from "../../../src/infra/embedded/postgres/embedded-postgres.ts";
import { startEmbeddedRedis } from "../../../src/infra/embedded/redis/embedded-redis.ts";

export const isRoot = process.getuid?.() === 0;

/** A folder that is removed with what PostgreSQL may keep for it elsewhere. */
export async function scratchFolder(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "cartwright-embedded-"));
  await chmod(path, 0o711); // an ordinary user's folder is in it too
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}

/** Removes what the data folder's `postgres` leads to, if it is a link. */
export async function removeLinked(dataDir: string): Promise<void> {
  const target = await readlink(join(dataDir, "postgres")).catch(() => undefined);
  if (target !== undefined) await rm(dirname(target), { recursive: true, force: true });
}

export async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

export async function postmasterPid(dataDir: string): Promise<number> {
  return Number.parseInt(await readFile(join(dataDir, "postgres", "postmaster.pid"), "utf8"), 10);
}

/** Waits until a condition holds; `what` names it when it does not in time. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 5_000) {
  for (const end = Date.now() + withinMs; !(await holds()); await delay(20)) {
    if (Date.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
  }
}

/** Gone, or dead and waiting to be buried by whoever inherited it. */
export async function isGone(pid: number): Promise<boolean> {
  const { output } = await run("/bin/sh", ["-c", 'ps -o stat= -p "$1" || echo Z', "gone", String(pid)]);
  return output.startsWith("Z");
}

const programs = new Set<ChildProcess>();

/** Ends what a failed test left running. */
export async function killPrograms(): Promise<void> {
  for (const program of programs) program.kill("SIGKILL");
  await until("all programs are gone", () => programs.size === 0);
}

/** A Node process with the stores in it; `settings` are those of {@link main}. */
export async function startProgram(settings: Settings, user?: User) {
  const file = fileURLToPath(import.meta.url);
  const child: ChildProcess = spawn(process.execPath, [file, JSON.stringify(settings)], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true, // a group of its own, as a shell gives it
    ...(user ? { uid: user.uid, gid: user.gid } : {}),
  });
  let errors = "";
  child.stderr?.on("data", (data) => {
    errors += data;
  });
  programs.add(child);
  const exit = once(child, "exit").then(([code, signal]) => {
    programs.delete(child);
    return { code, signal, errors };
  });
  const lines: string[] = [];
  if (child.stdout) createInterface(child.stdout).on("line", (line) => lines.push(line));
  return {
    pid: child.pid ?? 0,
    exit,
    lines,
    /** What it says once the stores are up. */
    async ready(): Promise<Ready> {
      await Promise.race([until("stores are up", () => lines.length > 0, 15_000), exit]);
      if (lines[0] === undefined) throw new Error(`it ended: ${errors}`);
      return JSON.parse(lines[0]);
    },
    async kill9() {
      child.kill("SIGKILL");
      await exit;
    },
  };
}

export interface Settings {
  dataDir: string;
  redis?: "native" | "wasm";
  /** Only takes the lock. */
  lockOnly?: boolean;
  /** Only runs a command that, with the one it starts, hears no signal that can be refused. */
  deaf?: boolean;
  /** Ends when there is nothing left to do, without stopping the stores. */
  forgetful?: boolean;
}

export interface Ready {
  postgres: string;
  description: string;
  redis: string;
}

async function main(settings: Settings): Promise<void> {
  const { dataDir } = settings;
  await lockDataDir(dataDir);
  if (settings.lockOnly) {
    console.log("{}");
    setInterval(() => {}, 1_000);
    return;
  }
  if (settings.deaf) {
    const child = `/bin/sh -c "sleep 60; :" ${dataDir}/postgres; :`;
    startChild(["/bin/sh", "-c", `trap "" INT TERM QUIT; ${child}`], { logFd: 1, patienceMs: 200 });
    console.log("{}");
    return;
  }
  const postgres = await startEmbeddedPostgres({ dataDir, database: "shop" });
  const redis = settings.redis && (await startEmbeddedRedis({ dataDir, kind: settings.redis }));
  console.log(
    JSON.stringify({ postgres: postgres.url, description: postgres.description, redis: redis?.url }),
  );
  if (settings.forgetful) return;
  setInterval(() => {}, 1_000);
  process.once("SIGINT", async () => {
    await delay(300); // calls in flight finish first
    console.log(JSON.stringify(await query(postgres.url, "SELECT 'drained' AS state")));
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
