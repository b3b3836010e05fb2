import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCli } from "../../support/cli/start-cli.ts";
import { countRows, findViolations } from "../../support/seed/database-state.ts";
import { createTestDatabase, type TestDatabase } from "../../support/stores/database.ts";
import { countConnections, countLockWaits } from "../../support/stores/database-activity.ts";

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

/** Starts the command as `npm run seed --` does. */
function startSeed(args: string[], env: Record<string, string> = { DATABASE_URL: database.url }) {
  return startCli("seed/main.ts", args, { DATA_DIR: dataDir, ...env });
}

test("after a run is killed with SIGKILL the next one completes the shop, and a third one adds nothing", async () => {
  const args = ["--products", "15000", "--customers", "300"];
  // Each block with one of these products waits for the lock, so the run cannot finish.
  await database.query(`create function wait() returns trigger language plpgsql as $$
    begin perform pg_advisory_xact_lock(1); return new; end $$`);
  await database.query(`create trigger waiting before insert on product for each row
    when (new.sku in ('SKU-003500', 'SKU-004500', 'SKU-005500', 'SKU-006500', 'SKU-007500')) execute function wait()`);
  await database.query("select pg_advisory_lock(1)");
  const { child, ended } = startSeed(args);
  await expect.poll(() => countLockWaits(database), { timeout: 30_000 }).toBeGreaterThan(0);
  await expect.poll(() => countRows(database, ["product"])).not.toEqual([0]);
  child.kill("SIGKILL");
  await ended;
  await database.query("select pg_advisory_unlock(1)");
  // PostgreSQL still completes the statements that it had sent.
  await expect.poll(() => countConnections(database)).toBe(0);
  await database.query("drop trigger waiting on product");
  const [before = 0] = await countRows(database, ["product"]);
  expect(before).toBeLessThan(15_000);
  expect(await findViolations(database)).toEqual([]);

  const second = await startSeed(args).ended;
  const missing = (15_000 - before).toLocaleString("en");
  expect(second).toMatchObject({ code: 0, errors: "" });
  expect(second.out).toMatch(
    new RegExp(`^Added ${missing} products, 300 customers, \\d+ orders, \\d+ purchases in `, "m"),
  );
  expect(second.out).toMatch(/, [\d,]+ products\/s\.$/m);
  expect(await countRows(database, ["product", "customer"])).toEqual([15_000, 300]);
  expect(await findViolations(database)).toEqual([]);
  expect((await startSeed(args).ended).out).toMatch(/^Nothing to add: all data exists/m);
});

test("without DATABASE_URL the command fills the running shop of the data folder", async () => {
  await writeFile(join(dataDir, "postgres.url"), `${database.url}\n`);
  const run = await startSeed(["--products", "15001", "--customers", "1"], {}).ended;
  expect(run.out).toMatch(/^Added 1 products, 0 customers, 0 orders, 0 purchases in /m);
});

test.each([
  [["--products", "2000001"], '--products must be a whole number from 1 to 2,000,000, not "2000001".'],
  [["--customers=-1"], "--customers must be"],
  [["--product", "5"], "Unknown option '--product'"],
  [["5"], "Unexpected argument '5'"],
])("the arguments %j are rejected in one line, with a hint to --help", async (args, message) => {
  const run = await startSeed(args).ended;
  expect(run).toMatchObject({ code: 1, out: "" });
  expect(run.errors).toContain(message);
  expect(run.errors).toMatch(/^.+\.\nFor all options: npm run seed -- --help\n$/);
});

test("an unreachable database is named, without a stack", async () => {
  const run = await startSeed([], { DATABASE_URL: "postgres://unknown@127.0.0.1:1/none" }).ended;
  expect(run).toMatchObject({ code: 1, out: "" });
  expect(run.errors).toContain("127.0.0.1:1");
  expect(run.errors).not.toMatch(/\n\s+at /);
});
