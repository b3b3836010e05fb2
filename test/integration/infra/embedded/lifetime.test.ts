import { spawn } from "node:child_process";
import { chmod, chown, mkdir, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../../../../src/infra/embedded/child-process.ts";
import { lockDataDir } from "../../../../src/infra/embedded/data-dir.ts";
import { startEmbeddedPostgres } from "../../../../src/infra/embedded/postgres/embedded-postgres.ts";
import { postgresPackage } from "../../../../src/infra/embedded/postgres/postgres-binaries.ts";
import { nobody } from "../../../../src/infra/embedded/postgres/postgres-folder.ts";
import {
  isGone,
  isRoot,
  killPrograms,
  postmasterPid,
  query,
  removeLinked,
  scratchFolder,
  startProgram,
  until,
} from "../../../support/embedded/embedded-program.ts";

let scratch: { path: string; remove(): Promise<void> };
beforeAll(async () => {
  scratch = await scratchFolder();
});
afterAll(async () => {
  await killPrograms();
  await scratch.remove();
});

/** Numbers of the processes that have the folder in their command line: supervisor, server, helpers. */
async function processesOf(dataDir: string): Promise<number[]> {
  const { output } = await run("/bin/ps", ["axww", "-o", "pid=,stat=,command="]);
  const lines = output.split("\n").filter((line) => line.includes(`${dataDir}/postgres`));
  return lines.filter((line) => !/^\s*\d+ Z/.test(line)).map((line) => Number.parseInt(line, 10));
}

const hasRedis = (await run("/bin/sh", ["-c", "command -v redis-server"])).ok;

/** Writes a row that every later start must find. */
const keep = (url: string, answer: number) =>
  query(url, `CREATE TABLE IF NOT EXISTS kept (answer int); INSERT INTO kept VALUES (${answer})`);

async function keptAfterRestart(dataDir: string): Promise<unknown[]> {
  const store = await startEmbeddedPostgres({ dataDir, database: "shop" });
  try {
    return (await query(store.url, "SELECT answer FROM kept")).map((row) => row.answer);
  } finally {
    await store.stop();
  }
}

describe("when the process that started the stores", { timeout: 20_000 }, () => {
  let dataDir: string;
  beforeAll(() => {
    dataDir = join(scratch.path, "data");
  });

  it("is killed -9, they end within 5 s and the data is there at the next start", async () => {
    const program = await startProgram({ dataDir, ...(hasRedis ? { redis: "native" } : {}) });
    const { postgres, redis } = await program.ready();
    await keep(postgres, 42);
    const supervised = await processesOf(dataDir);
    expect(supervised.length).toBeGreaterThanOrEqual(2);
    const redisPid = redis ? await listenerOf(new URL(redis).port) : undefined;
    await program.kill9();
    await until("PostgreSQL is gone", async () => (await processesOf(dataDir)).length === 0);
    if (redisPid) await until("Redis is gone", () => isGone(redisPid));
    expect(await keptAfterRestart(dataDir)).toContain(42);
  });

  it("is killed -9 with all that it started, the next start works", async () => {
    const program = await startProgram({ dataDir });
    await keep((await program.ready()).postgres, 43);
    for (const pid of [program.pid, ...(await processesOf(dataDir))]) process.kill(pid, "SIGKILL");
    await program.exit;
    expect(await keptAfterRestart(dataDir)).toContain(43);
  });

  it("is killed -9 with its supervisor, the next start ends the server that is left", async () => {
    const program = await startProgram({ dataDir });
    await keep((await program.ready()).postgres, 44);
    const orphan = await postmasterPid(dataDir);
    const others = [program.pid, ...(await processesOf(dataDir))].filter((pid) => pid !== orphan);
    // Held first, so that none of them can act on the end of another.
    for (const signal of ["SIGSTOP", "SIGKILL"] as const) {
      for (const pid of others) process.kill(pid, signal);
    }
    await program.exit;
    await delay(200);
    expect(await isGone(orphan)).toBe(false);
    expect(await keptAfterRestart(dataDir)).toContain(44);
    expect(await isGone(orphan)).toBe(true);
  });

  it("is killed -9 during initdb, nothing is left and the next start begins anew", async () => {
    const dataDir = join(scratch.path, "interrupted");
    const program = await startProgram({ dataDir });
    const names = () => readdir(dataDir).catch(() => []);
    await until("initdb is at work", async () => {
      const files = await readdir(dataDir, { recursive: true }).catch(() => []);
      return files.some((file) => file.endsWith("PG_VERSION")); // it is there long before the rest
    });
    await program.kill9();
    expect(await names()).not.toContain("postgres");
    await until("initdb is gone", async () => (await processesOf(dataDir)).length === 0);
    const store = await startEmbeddedPostgres({ dataDir, database: "shop", durable: false });
    expect(await query(store.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    await store.stop();
    expect((await names()).filter((name) => name.includes("half"))).toEqual([]);
  });

  it("is killed -9, a command that hears no signal ends with what it started", async () => {
    const program = await startProgram({ dataDir, deaf: true });
    await program.ready();
    await until("both are there", async () => (await processesOf(dataDir)).length >= 3); // and the supervisor
    await program.kill9();
    await until("both are gone", async () => (await processesOf(dataDir)).length === 0);
  });

  it("gets Ctrl-C, they wait until it has drained", async () => {
    const program = await startProgram({ dataDir, ...(hasRedis ? { redis: "native" } : {}) });
    await program.ready();
    process.kill(-program.pid, "SIGINT");
    expect(await program.exit).toMatchObject({ code: 0, errors: "" });
    expect(program.lines[1]).toContain("drained");
    expect(await processesOf(dataDir)).toEqual([]);
  });

  it("has nothing more to do, it ends, and they with it", async () => {
    const program = await startProgram({ dataDir, redis: "wasm", forgetful: true });
    expect(await program.exit).toMatchObject({ code: 0, errors: "" });
    await until("PostgreSQL is gone", async () => (await processesOf(dataDir)).length === 0);
  });

  it("left a number in postmaster.pid that is another program's by now, that one is let alone", async () => {
    const user = isRoot ? await nobody() : undefined;
    const other = spawn("sleep", ["30"], user ? { uid: user.uid, gid: user.gid, cwd: "/" } : {});
    try {
      const files = join(dataDir, "postgres");
      const pidFile = join(files, "postmaster.pid");
      await writeFile(pidFile, [other.pid, files, 1_700_000_000, 5432, "", "127.0.0.1", "", ""].join("\n"));
      if (user) await chown(pidFile, user.uid, user.gid);
      expect(await keptAfterRestart(dataDir)).toContain(42);
      expect(other.exitCode ?? other.signalCode).toBe(null);
    } finally {
      other.kill();
    }
  });
});

describe("the lock of a data folder", { timeout: 15_000 }, () => {
  it("is one process's, which others are told of, until it is released or killed", async () => {
    const dataDir = join(scratch.path, "locked");
    const program = await startProgram({ dataDir, lockOnly: true });
    await program.ready();
    await expect(lockDataDir(dataDir)).rejects.toMatchObject({
      name: "StartupError",
      message: `DATA_DIR ${dataDir} is in use by process ${program.pid}. Stop it, or start this one with another DATA_DIR.`,
    });
    await program.kill9();
    const lock = await lockDataDir(dataDir);
    await expect(lockDataDir(dataDir)).rejects.toThrow(`in use by process ${process.pid}.`);
    await lock.release();
    await lock.release();
    await (await lockDataDir(dataDir)).release();
    expect(await readdir(dataDir)).toEqual(["instance.lock"]);
  });

  it("is given to one of many that start at once", async () => {
    const dataDir = join(scratch.path, "contended");
    const programs = await Promise.all(
      Array.from({ length: 5 }, () => startProgram({ dataDir, lockOnly: true })),
    );
    const outcomes = await Promise.all(programs.map((each) => each.ready().then(() => "held", String)));
    const holder = programs[outcomes.indexOf("held")];
    const refused = outcomes.filter((outcome) => outcome.includes(`in use by process ${holder?.pid}.`));
    expect(refused).toHaveLength(4);
    await holder?.kill9();
  });

  it("says what is wrong with a folder that cannot be made", async () => {
    const file = join(scratch.path, "file");
    await writeFile(file, "");
    await expect(lockDataDir(join(file, "data"))).rejects.toThrow(/cannot be used.*Set DATA_DIR to another/);
  });
});

describe("whoever starts it", { timeout: 20_000 }, () => {
  it("an ordinary user keeps all in the data folder", async (test) => {
    const user = isRoot ? await nobody() : undefined;
    const readable = await run("/bin/sh", ["-c", '[ -r "$1" ] && [ -x "$2" ]', "try", ...theirs()], user);
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

  it.skipIf(!isRoot)(
    "root under a private folder keeps the files where nobody can go (needs root)",
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
          `${dataDir}/postgres, which leads to ${files} as nobody cannot enter`,
        );
        await keep(first.url, 45);
        await first.stop();
        expect(await keptAfterRestart(dataDir)).toEqual([45]);
        expect(await readlink(join(dataDir, "postgres"))).toBe(files);
      } finally {
        await removeLinked(dataDir);
      }
    },
  );
});

const theirs = () => [join(postgresPackage(), "package.json"), process.execPath];

/** The process that listens on that port, found by its files as Linux shows them. */
async function listenerOf(port: string): Promise<number | undefined> {
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
