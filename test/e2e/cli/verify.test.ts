import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type CliResult, startCli } from "../../support/cli/start-cli.ts";
import { countRows } from "../../support/seed/database-state.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";
import { createTestDatabase } from "../../support/stores/database.ts";

let shop: TestShop;
let dataDir: string;
let orderIds: string[];
beforeAll(async () => {
  shop = await startShop();
  dataDir = await mkdtemp(join(tmpdir(), "cartwright-verify-"));
  const productId = await makeProduct(shop, { stock: 10n });
  const place = async () =>
    shop.orders.createOrder({ requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } });
  const placed = [await place(), await place()];
  orderIds = placed.map(({ order }) => order?.id ?? "").sort();
});
afterAll(async () => {
  await shop.close();
  await rm(dataDir, { recursive: true });
});

/** Runs the command as `npm run verify --` does. */
function verify(args: string[] = [], url = shop.database.url): Promise<CliResult> {
  return startCli("verify/main.ts", args, { DATA_DIR: dataDir, DATABASE_URL: url }).ended;
}

test("the command prints a line for each check of a running shop, and exits with 0", async () => {
  const { code, out, errors } = await verify();
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  const lines = out.trimEnd().split("\n");
  const { checks } = await shop.operations.verifyInvariants({});
  expect(lines.slice(0, -1)).toEqual(
    checks.map(({ invariant, name }) =>
      expect.stringMatching(new RegExp(`^${invariant} +${name} +passed in \\d+\\.\\d s$`)),
    ),
  );
  expect(lines.at(-1)).toMatch(
    new RegExp(`^All ${checks.length} checks passed on the data of \\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z\\.$`),
  );
});

test("the command prints the rows of each breach, and exits with 1", async () => {
  await shop.database.query("update orders set total_minor = 1001");
  const { code, out, errors } = await verify(["--max-breaches", "1"]);
  await shop.database.query("update orders set total_minor = 1000");
  expect({ code, errors }).toEqual({ code: 1, errors: "" });
  expect(out).toMatch(
    /^I2 +order-totals +2 breaches\n {4}Expected: The totals of an order add up.*\.\n {4}orders\/[\da-f-]{36}: total_minor 1001, items_minor 1000.*\n {4}and 1 breach more\n/m,
  );
  expect(out).toContain(orderIds[0]);
  expect(out).toMatch(/^1 of \d+ checks failed on the data of /m);
});

test("the command does not migrate: a database without the schema of this version is rejected", async () => {
  const database = await createTestDatabase();
  await database.query("delete from migration where name = (select max(name) from migration)");
  const before = await countRows(database, ["migration"]);
  const { code, out, errors } = await verify([], database.url);
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(errors).toBe(
    "The database does not have the schema of this version. Start the service of this version once: it migrates the database.\n",
  );
  expect(await countRows(database, ["migration"])).toEqual(before);
  await database.drop();
});

test("while another verification is running, the command ends with its reason", async () => {
  await shop.database.query("select pg_advisory_lock(x'76657269'::int)");
  const { code, out, errors } = await verify();
  await shop.database.query("select pg_advisory_unlock(x'76657269'::int)");
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(errors).toBe("Another verification is running. Retry when it has ended.\n");
});

test.each([
  [["--max-breaches", "101"], '--max-breaches must be a whole number from 1 to 100, not "101".'],
  [["--max-breaches=-1"], "--max-breaches must be"],
  [["--fix"], "Unknown option '--fix'"],
])("the arguments %j are rejected in one line, with a hint to --help", async (args, message) => {
  const { code, out, errors } = await verify(args);
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(errors.split("\n")).toEqual([
    expect.stringContaining(message),
    "For all options: npm run verify -- --help",
    "",
  ]);
});
