import { once } from "node:events";
import { chmod, cp, mkdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startChild } from "../../../../src/infra/embedded/child-process.ts";
import type { EmbeddedStore } from "../../../../src/infra/embedded/embedded-store.ts";
import { startEmbeddedPostgres } from "../../../../src/infra/embedded/postgres/embedded-postgres.ts";
import {
  findPostgresPackage,
  prepareBinaries,
} from "../../../../src/infra/embedded/postgres/postgres-binaries.ts";
import { runProgram } from "../../../../src/infra/embedded/run-program.ts";
import { startServer } from "../../../../src/infra/embedded/start-server.ts";
import { findNobody, isRoot } from "../../../../src/infra/embedded/system-user.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";
import {
  createScratchFolder,
  hasEnded,
  readPostmasterPid,
} from "../../../support/embedded/embedded-fixtures.ts";
import { query } from "../../../support/embedded/query.ts";

const start = (dataDir: string, durable = false) =>
  startEmbeddedPostgres({ dataDir, database: "shop", durable });

const failureOf = (dataDir: string): Promise<string> =>
  start(dataDir).then(
    async (store) => {
      await store.stop();
      return "it started";
    },
    (error: unknown) => (error instanceof StartupError ? error.message : `not a StartupError: ${error}`),
  );

let scratch: { path: string; remove(): Promise<void> };
beforeAll(async () => {
  scratch = await createScratchFolder();
});
afterAll(() => scratch.remove());

describe("a running embedded PostgreSQL", () => {
  let dataDir: string;
  let store: EmbeddedStore;
  let password: string;
  beforeAll(async () => {
    dataDir = join(scratch.path, "running");
    store = await start(dataDir, true);
    password = new URL(store.url).password;
  });
  afterAll(() => store.stop());

  it("embedded PostgreSQL uses UTC and the rules of Unicode for letters", async () => {
    const [row] = await query(
      store.url,
      "SELECT current_database() AS db, current_setting('TimeZone') AS zone, lower('ÉCOLE') AS lower, current_setting('fsync') AS fsync",
    );
    expect(row).toEqual({ db: "shop", zone: "UTC", lower: "école", fsync: "on" });
    await query(store.url, "CREATE EXTENSION pg_trgm");
    const [trigrams] = await query(store.url, "SELECT cardinality(show_trgm('Ωμέγα')) AS count");
    expect(trigrams).toEqual({ count: 6 });
  });

  it("embedded PostgreSQL rejects connections without the password", async () => {
    for (const other of ["", "wrong"]) {
      const url = store.url.replace(password, other);
      await expect(query(url, "SELECT 1")).rejects.toThrow(/password/);
    }
    const [hash] = await query(store.url, "SELECT rolpassword FROM pg_authid WHERE rolname = 'cartwright'");
    expect(hash?.rolpassword).toMatch(/^SCRAM-SHA-256\$/);
  });

  it("the password of embedded PostgreSQL is only in files that no other user can read", async () => {
    const { output } = await runProgram("/bin/ps", ["axww", "-o", "command="]);
    expect(output).toContain(`-D ${join(dataDir, "postgres")}`);
    expect(output).not.toContain(password);
    expect(store.description).not.toContain(password);
    expect(store.description).toMatch(/^PostgreSQL 18\.\d+ in .*running\/postgres \(127\.0\.0\.1:\d+\)$/);
    const file = join(dataDir, "postgres.url");
    expect(await readFile(file, "utf8")).toBe(`${store.url}\n`);
    for (const secret of [file, join(dataDir, "postgres", "cartwright.password")]) {
      expect((await stat(secret)).mode & 0o777).toBe(0o600);
    }
    expect(await readFile(join(dataDir, "postgres.log"), "utf8")).not.toContain(password);
  });

  it("embedded PostgreSQL listens on 127.0.0.1 only", async () => {
    const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    const outside = addresses.find((address) => !address.internal && address.family === "IPv4");
    const [row] = await query(
      store.url,
      "SELECT current_setting('listen_addresses') AS at, current_setting('unix_socket_directories') AS sockets",
    );
    expect(row).toEqual({ at: "127.0.0.1", sockets: "" });
    if (outside) {
      await expect(query(store.url.replace("127.0.0.1", outside.address), "SELECT 1")).rejects.toThrow();
    }
  });

  it("embedded PostgreSQL is not started twice on the same files", async () => {
    expect(await failureOf(dataDir)).toContain(`is in use by process ${process.pid}`);
    expect(await query(store.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
  });
});

describe("the files of an embedded PostgreSQL", () => {
  let dataDir: string;
  beforeAll(() => {
    dataDir = join(scratch.path, "with space 'and' \"quotes\"", "long".repeat(30));
  });

  it("database files keep data and password between starts, in a long path with spaces, and are unlocked by stop", async () => {
    const first = await start(relative(process.cwd(), dataDir));
    await query(first.url, "CREATE TABLE saved AS SELECT 42 AS value");
    const pid = await readPostmasterPid(dataDir);
    await first.stop();
    await first.stop();
    expect(await hasEnded(pid)).toBe(true);
    const second = await start(dataDir);
    try {
      expect(await query(second.url, "SELECT value FROM saved")).toEqual([{ value: 42 }]);
      expect(new URL(second.url).password).toBe(new URL(first.url).password);
    } finally {
      await second.stop();
    }
  });

  it("the end of a killed server is reported, and its database files are intact at the next start", async () => {
    const first = await start(dataDir);
    process.kill(await readPostmasterPid(dataDir), "SIGKILL");
    expect(await first.exited).toMatch(
      /^PostgreSQL 18.* ended unexpectedly \(exit code 137\).*postgres\.log/,
    );
    await first.stop();
    const second = await start(dataDir);
    await second.stop();
  });

  it("files that are not a database, and a link to a nonexistent folder, are rejected with advice", async () => {
    const other = join(scratch.path, "not-a-database");
    const files = join(other, "postgres");
    await mkdir(files, { recursive: true });
    await writeFile(join(files, "notes.txt"), "text");
    expect(await failureOf(other)).toMatch(/files that are not a database. Move them away/);
    await rm(files, { recursive: true });
    await symlink("/nowhere/at/all", files);
    expect(await failureOf(other)).toMatch(/a link to \/nowhere\/at\/all, which does not exist/);
  });

  it("database files that are damaged or of another version are rejected with advice", async () => {
    const files = join(dataDir, "postgres");
    await rm(join(files, "global", "pg_control"));
    expect(await failureOf(dataDir)).toMatch(
      /did not start: exit code \d+[\s\S]*pg_control[\s\S]*DATABASE_URL/,
    );
    await writeFile(join(files, "PG_VERSION"), "17\n");
    expect(await failureOf(dataDir)).toMatch(/created by PostgreSQL 17, and this is 18\.\d+/);
  });
});

describe("the programs of PostgreSQL", () => {
  const readLinks = async (dir: string): Promise<{ target: string }[]> =>
    JSON.parse(await readFile(join(dir, "native", "pg-symlinks.json"), "utf8"));

  let dir: string;
  beforeAll(async () => {
    dir = join(scratch.path, "package");
    await cp(findPostgresPackage(), dir, { recursive: true, verbatimSymlinks: true });
  });
  beforeEach(async () => {
    for (const { target } of await readLinks(dir)) await rm(join(dir, target), { force: true });
  });

  it("the links that an install without scripts omits are created in place", async () => {
    const user = isRoot() ? await findNobody() : undefined;
    const { postgres, version } = await prepareBinaries(dir, join(scratch.path, "unused"), user);
    expect(postgres).toBe(join(dir, "native", "bin", "postgres"));
    expect(version).toMatch(/^18\.\d+$/);
    for (const { target } of await readLinks(dir)) await stat(join(dir, target));
    await expect(stat(join(scratch.path, "unused"))).rejects.toThrow("ENOENT");
  });

  it("concurrent starts copy PostgreSQL's programs once if they cannot be used in place", async () => {
    const library = join(dir, "native", "lib");
    await chmod(isRoot() ? dir : library, isRoot() ? 0o700 : 0o500);
    const user = isRoot() ? await findNobody() : undefined;
    const copies = join(scratch.path, "copies");
    try {
      const all = await Promise.all(Array.from({ length: 2 }, () => prepareBinaries(dir, copies, user)));
      expect(new Set(all.map(({ postgres }) => postgres)).size).toBe(1);
      expect(all[0]?.postgres.startsWith(copies)).toBe(true);
      const { output } = await runProgram("/bin/ls", [copies]);
      expect(output).toMatch(/^postgres-binaries-[\w.-]+$/);
    } finally {
      await chmod(library, 0o700);
    }
  });
});

it("a server is started on another port if the first one was taken meanwhile", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const address = taken.address();
  const takenPort = address !== null && typeof address === "object" ? address.port : 0;
  const ports: number[] = [];
  const program = "require('node:net').createServer().listen(process.argv[1], '127.0.0.1')";
  try {
    const { port, server } = await startServer({
      name: "A server",
      logFile: join(scratch.path, "server.log"),
      advice: "",
      spawn(port, logFd) {
        ports.push(ports.length === 0 ? takenPort : port);
        return startChild([process.execPath, "-e", program, String(ports.at(-1))], { logFd });
      },
      async waitUntilReady(port, signal) {
        while (!signal.aborted && !(await canConnect(port))) await sleep(20);
      },
    });
    expect(ports).toEqual([takenPort, port]);
    await server.stop();
    expect(await canConnect(port)).toBe(false);
  } finally {
    taken.close();
  }
});

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true));
    socket.on("error", () => resolve(false)).on("connect", () => socket.destroy());
  });
}
