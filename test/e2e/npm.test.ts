import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isProcessAlive } from "../../src/infra/embedded/child-process.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
let dataDir: string;
let started: readonly number[] = [];
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "cartwright-npm-"));
});
afterEach(async () => {
  for (const pid of started.filter(isProcessAlive)) process.kill(pid, "SIGKILL");
  await rm(dataDir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

/** Returns the ids of all descendants of a process. */
async function descendantsOf(parent: number): Promise<number[]> {
  const children = await readFile(`/proc/${parent}/task/${parent}/children`, "utf8").catch(() => "");
  const ids = children.split(" ").filter(Boolean).map(Number);
  return [...ids, ...(await Promise.all(ids.map(descendantsOf))).flat()];
}

// A supervisor signals only the process that it started, which is npm itself.
test("SIGTERM to npm stops the service, PostgreSQL and Redis, and leaves no process", async () => {
  const { PATH = "", HOME = "" } = process.env;
  const npm = spawn("npm", ["start"], {
    cwd: root,
    env: { PATH, HOME, PORT: "0", DATA_DIR: dataDir, SEED_DEMO: "off" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(npm, "exit");
  let output = "";
  npm.stdout.setEncoding("utf8").on("data", (chunk) => {
    output += chunk;
  });
  await expect.poll(() => output, { timeout: 30_000 }).toContain("listening");
  started = await descendantsOf(npm.pid ?? 0);
  // The service, and at least PostgreSQL's first process and Redis.
  expect(started.length).toBeGreaterThanOrEqual(3);
  npm.kill("SIGTERM");
  expect(await exited).toEqual([0, null]);
  await expect.poll(() => started.filter(isProcessAlive), { timeout: 15_000 }).toEqual([]);
  await expect(access(join(dataDir, "postgres", "postmaster.pid"))).rejects.toThrow("ENOENT");
});
