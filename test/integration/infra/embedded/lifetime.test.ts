import { spawn } from "node:child_process";
import { chmod, chown, mkdir, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lockDataDir } from "../../../../src/infra/embedded/data-dir.ts";
import { startEmbeddedPostgres } from "../../../../src/infra/embedded/postgres/embedded-postgres.ts";
import { findPostgresPackage } from "../../../../src/infra/embedded/postgres/postgres-binaries.ts";
import { runProgram } from "../../../../src/infra/embedded/run-program.ts";
import { findNobody, isRoot } from "../../../../src/infra/embedded/system-user.ts";
import {
  createScratchFolder,
  hasEnded,
  killPrograms,
  readPostmasterPid,
  removeLinked,
  startProgram,
  waitUntil,
} from "../../../support/embedded/embedded-fixtures.ts";
import { query } from "../../../support/embedded/query.ts";

let scratch: { path: string; remove(): Promise<void> };
beforeAll(async () => {
  scratch = await createScratchFolder();
});
afterAll(async () => {
  await killPrograms();
  await scratch.remove();
});

/** Returns the ids of the processes with the folder in their command line: supervisor, server, helpers. */
async function processesOf(dataDir: string): Promise<number[]> {
  const { output } = await runProgram("/bin/ps", ["axww", "-o", "pid=,stat=,command="]);
  const lines = output.split("\n").filter((line) => line.includes(`${dataDir}/postgres`));
  return lines.filter((line) => !/^\s*\d+ Z/.test(line)).map((line) => Number.parseInt(line, 10));
}

const hasRedis = (await runProgram("/bin/sh", ["-c", "command -v redis-server"])).ok;

/** Inserts a row that every later start must find. */
const insertRow = (url: string, value: number) =>
  query(url, `CREATE TABLE IF NOT EXISTS saved (value int); INSERT INTO saved VALUES (${value})`);

async function readRowsAfterRestart(dataDir: string): Promise<unknown[]> {
  const store = await startEmbeddedPostgres({ dataDir, database: "shop" });
  try {
    return (await query(store.url, "SELECT value FROM saved")).map((row) => row.value);
  } finally {
    await store.stop();
  }
}

describe("the lifetime of the embedded stores", () => {
  let dataDir: string;
  beforeAll(() => {
    dataDir = join(scratch.path, "data");
  });

  it("stores end when their process is killed with SIGKILL, and the next start finds the data", async () => {
    const program = await startProgram({ dataDir, ...(hasRedis ? { redis: "native" } : {}) });
    const { postgres, redis } = await program.ready();
    await insertRow(postgres, 42);
    const supervised = await processesOf(dataDir);
    expect(supervised.length).toBeGreaterThanOrEqual(2);
    const redisPid = redis ? await findListener(new URL(redis).port) : undefined;
    await program.kill();
    await waitUntil("PostgreSQL has ended", async () => (await processesOf(dataDir)).length === 0);
    if (redisPid) await waitUntil("Redis has ended", () => hasEnded(redisPid));
    expect(await readRowsAfterRestart(dataDir)).toContain(42);
  });

  it("the next start finds the data after the process and all its children are killed with SIGKILL", async () => {
    const program = await startProgram({ dataDir });
    await insertRow((await program.ready()).postgres, 43);
    for (const pid of [program.pid, ...(await processesOf(dataDir))]) process.kill(pid, "SIGKILL");
    await program.exit;
    expect(await readRowsAfterRestart(dataDir)).toContain(43);
  });

  it("the next start stops an orphaned server whose process and supervisor were killed with SIGKILL", async () => {
    const program = await startProgram({ dataDir });
    await insertRow((await program.ready()).postgres, 44);
    const orphan = await readPostmasterPid(dataDir);
    const others = [program.pid, ...(await processesOf(dataDir))].filter((pid) => pid !== orphan);
    // Stopped first, so that none of them can react to the end of another.
    for (const signal of ["SIGSTOP", "SIGKILL"] as const) {
      for (const pid of others) process.kill(pid, signal);
    }
    await program.exit;
    await waitUntil("the others have ended", async () =>
      (await Promise.all(others.map(hasEnded))).every((ended) => ended),
    );
    expect(await hasEnded(orphan)).toBe(false);
    expect(await readRowsAfterRestart(dataDir)).toContain(44);
    expect(await hasEnded(orphan)).toBe(true);
  });

  it("a process killed with SIGKILL during initdb leaves no process, and the next start creates a new database", async () => {
    const dataDir = join(scratch.path, "interrupted");
    const program = await startProgram({ dataDir });
    const names = () => readdir(dataDir).catch(() => []);
    await waitUntil("initdb is running", async () => {
      const files = await readdir(dataDir, { recursive: true }).catch(() => []);
      // Created long before the other files.
      return files.some((file) => file.endsWith("PG_VERSION"));
    });
    await program.kill();
    expect(await names()).not.toContain("postgres");
    await waitUntil("initdb has ended", async () => (await processesOf(dataDir)).length === 0);
    const store = await startEmbeddedPostgres({ dataDir, database: "shop", durable: false });
    expect(await query(store.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    await store.stop();
    expect((await names()).filter((name) => name.includes("half"))).toEqual([]);
  });

  it("a command that ignores signals ends with its children when the process is killed with SIGKILL", async () => {
    const program = await startProgram({ dataDir, ignoreSignals: true });
    await program.ready();
    await waitUntil("both are running", async () => (await processesOf(dataDir)).length >= 3);
    await program.kill();
    await waitUntil("both have ended", async () => (await processesOf(dataDir)).length === 0);
  });

  it("stores run until the process has drained after SIGINT from the terminal", async () => {
    const program = await startProgram({ dataDir, ...(hasRedis ? { redis: "native" } : {}) });
    await program.ready();
    process.kill(-program.pid, "SIGINT");
    expect(await program.exit).toMatchObject({ code: 0, errors: "" });
    expect(program.lines[1]).toContain("drained");
    expect(await processesOf(dataDir)).toEqual([]);
  });

  it("stores do not keep a process with nothing to do alive, and end with it", async () => {
    const program = await startProgram({ dataDir, redis: "wasm", exitImmediately: true });
    expect(await program.exit).toMatchObject({ code: 0, errors: "" });
    await waitUntil("PostgreSQL has ended", async () => (await processesOf(dataDir)).length === 0);
  });

  it("a program that has the process id in a leftover postmaster.pid is not killed", async () => {
    const user = isRoot() ? await findNobody() : undefined;
    const other = spawn("sleep", ["30"], user ? { uid: user.uid, gid: user.gid, cwd: "/" } : {});
    try {
      const files = join(dataDir, "postgres");
      const pidFile = join(files, "postmaster.pid");
      await writeFile(pidFile, [other.pid, files, 1_700_000_000, 5432, "", "127.0.0.1", "", ""].join("\n"));
      if (user) await chown(pidFile, user.uid, user.gid);
      expect(await readRowsAfterRestart(dataDir)).toContain(42);
      expect(other.exitCode ?? other.signalCode).toBe(null);
    } finally {
      other.kill();
    }
  });
});

describe("the lock of a data folder", () => {
  it("the lock belongs to one process, named in the error of others, until it is released or the process is killed", async () => {
    const dataDir = join(scratch.path, "locked");
    const program = await startProgram({ dataDir, lockOnly: true });
    await program.ready();
    await expect(lockDataDir(dataDir)).rejects.toMatchObject({
      name: "StartupError",
      message: `DATA_DIR ${dataDir} is in use by process ${program.pid}. Stop it, or start this one with another DATA_DIR.`,
    });
    await program.kill();
    const lock = await lockDataDir(dataDir);
    await expect(lockDataDir(dataDir)).rejects.toThrow(`in use by process ${process.pid}.`);
    await lock.release();
    await lock.release();
    await (await lockDataDir(dataDir)).release();
    expect(await readdir(dataDir)).toEqual(["instance.lock"]);
  });

  it("only one of many processes that start concurrently acquires the lock", async () => {
    const dataDir = join(scratch.path, "contended");
    const programs = await Promise.all(
      Array.from({ length: 5 }, () => startProgram({ dataDir, lockOnly: true })),
    );
    const outcomes = await Promise.all(programs.map((each) => each.ready().then(() => "held", String)));
    const holder = programs[outcomes.indexOf("held")];
    const rejected = outcomes.filter((outcome) => outcome.includes(`in use by process ${holder?.pid}.`));
    expect(rejected).toHaveLength(4);
    await holder?.kill();
  });

  it("a data folder that cannot be created is reported by the error", async () => {
    const file = join(scratch.path, "file");
    await writeFile(file, "");
    await expect(lockDataDir(join(file, "data"))).rejects.toThrow(/cannot be used.*Set DATA_DIR to another/);
  });
});

describe("the database files", () => {
  it("the database files of an ordinary user are in the data folder", async (test) => {
    const user = isRoot() ? await findNobody() : undefined;
    const readable = await runProgram(
      "/bin/sh",
      ["-c", '[ -r "$1" ] && [ -x "$2" ]', "try", ...requiredFiles()],
      user,
    );
    if (!readable.ok) test.skip(`user ${user?.name} cannot read this project`);
    const dataDir = join(scratch.path, "ordinary");
    await mkdir(dataDir, { mode: 0o700 });
    if (user) await chown(dataDir, user.uid, user.gid);
    const program = await startProgram({ dataDir }, user);
    const { postgres, description } = await program.ready();
    expect(await query(postgres, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    expect(description).toContain(` in ${dataDir}/postgres (`);
    process.kill(program.pid, "SIGINT");
    expect((await program.exit).code).toBe(0);
  });

  it.skipIf(!isRoot())(
    "the database files are in a folder that the user nobody can enter if root's data folder is private (needs root)",
    async () => {
      const home = join(scratch.path, "home of root");
      const dataDir = join(home, ".data");
      await mkdir(dataDir, { recursive: true });
      await chmod(home, 0o700);
      try {
        const first = await startEmbeddedPostgres({ dataDir, database: "shop", durable: false });
        const files = await readlink(join(dataDir, "postgres"));
        expect(files).toMatch(/^\/var\/lib\/cartwright\/data.*home-of-root.*\/postgres$/);
        expect(first.description).toContain(
          `${dataDir}/postgres, a link to ${files} because nobody cannot enter`,
        );
        await insertRow(first.url, 45);
        await first.stop();
        expect(await readRowsAfterRestart(dataDir)).toEqual([45]);
        expect(await readlink(join(dataDir, "postgres"))).toBe(files);
      } finally {
        await removeLinked(dataDir);
      }
    },
  );
});

const requiredFiles = () => [join(findPostgresPackage(), "package.json"), process.execPath];

/** Finds the process that listens on a port by its open files. Linux only. */
async function findListener(port: string): Promise<number | undefined> {
  if (process.platform !== "linux") return undefined;
  const local = `0100007F:${Number(port).toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = (await readFile("/proc/net/tcp", "utf8")).split("\n").map((row) => row.trim().split(/\s+/));
  const inode = rows.find((row) => row[1] === local && row[3] === "0A")?.[9];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
      if (link === `socket:[${inode}]`) return Number(pid);
    }
  }
  return undefined;
}
