import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../support/database.ts";
import { countRows, findViolations } from "../../support/seed/database-state.ts";

let database: TestDatabase;
let dataDir: string;
beforeAll(async () => {
  [database, dataDir] = await Promise.all([
    createTestDatabase(),
    mkdtemp(join(tmpdir(), "cartwright-seed-")),
  ]);
});
afterAll(async () => {
  await database.drop();
  await rm(dataDir, { recursive: true, force: true });
});

/** Runs the command, as `npm run seed --` does. */
function startSeed(args: string[], env: Record<string, string> = { DATABASE_URL: database.url }) {
  const child = spawn(process.execPath, ["src/cli/seed/main.ts", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env.PATH ?? "", DATA_DIR: dataDir, ...env },
  });
  let [out, errors] = ["", ""];
  child.stdout.on("data", (data) => {
    out += data;
  });
  child.stderr.on("data", (data) => {
    errors += data;
  });
  const ended = once(child, "close").then(([code]) => ({ code, out, errors }));
  return { child, ended };
}

test("killed -9 in the middle and run again, it completes the shop; a third run says so", async () => {
  const args = ["--products", "15000", "--customers", "300"];
  const { child, ended } = startSeed(args);
  const productCount = async () => (await countRows(database, ["product"]))[0] ?? 0;
  for (const end = Date.now() + 15_000; (await productCount()) === 0; await delay(5)) {
    if (Date.now() > end) throw new Error(`no product after 15 s: ${(await ended).errors}`);
  }
  child.kill("SIGKILL");
  await ended;
  // Statements that it had sent go on to their end.
  const others = "pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
  while (((await countRows(database, [others]))[0] ?? 0) > 0) await delay(5);
  const before = await productCount();
  expect(before).toBeLessThan(15_000);
  expect(await findViolations(database)).toEqual([]);

  const second = await startSeed(args).ended;
  const rest = (15_000 - before).toLocaleString("en");
  expect(second).toMatchObject({ code: 0, errors: "" });
  expect(second.out).toMatch(
    new RegExp(`^Added ${rest} products, 300 customers, \\d+ orders, \\d+ purchases in `, "m"),
  );
  expect(second.out).toMatch(/, [\d,]+ products\/s\.$/m);
  expect(await countRows(database, ["product", "customer"])).toEqual([15_000, 300]);
  expect(await findViolations(database)).toEqual([]);
  expect((await startSeed(args).ended).out).toMatch(/^Nothing to add: all data exists/);
});

test("without DATABASE_URL it fills the shop that runs on the data folder", async () => {
  await writeFile(join(dataDir, "postgres.url"), `${database.url}\n`);
  const run = await startSeed(["--products", "15001", "--customers", "1"], {}).ended;
  expect(run.out).toMatch(/^Added 1 products, 0 customers, 0 orders, 0 purchases in /);
});

test.each([
  [["--products", "2000001"], '--products must be a whole number from 1 to 2,000,000, not "2000001".'],
  [["--customers=-1"], "--customers must be"],
  [["--product", "5"], "Unknown option '--product'"],
  [["5"], "Unexpected argument '5'"],
])("%j is refused with what to do instead", async (args, message) => {
  const run = await startSeed(args).ended;
  expect(run).toMatchObject({ code: 1, out: "" });
  expect(run.errors).toContain(message);
  expect(run.errors).toContain("Usage: npm run seed --");
  expect(run.errors).not.toMatch(/\n\s+at /);
});

test("a database that is not there is named, without a stack", async () => {
  const run = await startSeed([], { DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" }).ended;
  expect(run).toMatchObject({ code: 1, out: "" });
  expect(run.errors).toContain("127.0.0.1:1");
  expect(run.errors).not.toMatch(/\n\s+at /);
});
