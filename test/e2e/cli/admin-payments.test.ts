import { afterAll, beforeAll, expect, test } from "vitest";
import { readAdminCommand } from "../../../src/cli/admin/options.ts";
import { StartupError } from "../../../src/kernel/errors.ts";
import { type CliResult, startCli } from "../../support/cli/start-cli.ts";
import { placeOrder } from "../../support/orders/order-fixtures.ts";
import {
  factOf,
  insertPayment,
  type LedgerReplica,
  openLedger,
  responseOf,
  webhookOf,
} from "../../support/payments/ledger-fixtures.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
let ledger: LedgerReplica;
beforeAll(async () => {
  shop = await startShop();
  ledger = await openLedger(shop.database);
});
afterAll(async () => {
  await ledger.close();
  await shop.close();
});

/** Runs the command as `npm run admin -- payments` does. */
function payments(...args: string[]): Promise<CliResult> {
  return startCli("admin/main.ts", ["payments", ...args], { DATABASE_URL: shop.database.url }).ended;
}

/** Returns the columns of each line of a list. */
const columnsOf = ({ out }: CliResult): string[][] =>
  out
    .trimEnd()
    .split("\n")
    .map((line) => line.split("  "));

test("payments list prints those of an order, and those that need a person, with their reason", async () => {
  const order = await placeOrder(shop, [2n]);
  const doubtful = await insertPayment(shop.database, order.id, { isOpen: false, reference: null });
  const ending = await insertPayment(shop.database, order.id);
  const captureBefore = new Date(Date.now() + 3_600_000);
  await ledger.writer.apply(responseOf(ending, [factOf(ending, "AUTHORIZED")], { captureBefore }));
  const lines = {
    doubtful: [doubtful.id, order.id, "sandbox", "-", "PENDING", "2000 EUR", "0 EUR", "0 EUR", "in doubt"],
    ending: [
      ...[ending.id, order.id, "sandbox", ending.reference, "AUTHORIZED", "2000 EUR", "0 EUR", "0 EUR"],
      `capture before ${captureBefore.toISOString()}`,
    ],
  };
  const all = await payments("list", "--order", order.id.toUpperCase());
  expect(all).toMatchObject({ code: 0, errors: expect.stringMatching(/^2 payments: id, order, /) });
  expect(columnsOf(all)).toEqual([lines.ending, lines.doubtful]);
  for (const attention of ["doubtful", "ending"] as const) {
    expect(columnsOf(await payments("list", "--attention", attention))).toEqual([lines[attention]]);
  }
  expect(await payments("list", "--attention", "failed")).toEqual({
    code: 0,
    out: "",
    errors: "There are no such payments.\n",
  });
});

test("payments discrepancies prints a contradiction until payments resolve has recorded its explanation", async () => {
  const order = await placeOrder(shop, [2n]);
  const payment = await insertPayment(shop.database, order.id);
  const captured = (minorUnits: bigint) => factOf(payment, "CAPTURED", { minorUnits, reference: "ch_1" });
  await ledger.writer.apply(webhookOf(payment, [captured(1_500n)]));
  await ledger.writer.apply(webhookOf(payment, [captured(2_000n)]));
  const list = (...options: string[]) => payments("discrepancies", "--order", order.id, ...options);
  const listed = await list();
  expect(listed).toMatchObject({ code: 0, errors: expect.stringMatching(/^1 discrepancies: id, time, /) });
  const [[id = "", , ...columns] = []] = columnsOf(listed);
  expect(columns.slice(0, 6)).toEqual([
    ...["AMOUNT_CONFLICT", order.id, payment.id],
    ...["ch_1", "1500 EUR", "2000 EUR"].map((text) => expect.stringContaining(text)),
  ]);
  const resolved = await payments("resolve", "--id", id, "--resolution", "asked the gateway");
  expect(resolved).toEqual({ code: 0, out: "", errors: `Resolved discrepancy ${id} (AMOUNT_CONFLICT).\n` });
  expect(await list()).toMatchObject({ out: "", errors: "There are no such discrepancies.\n" });
  expect((await list("--resolved")).out).toMatch(/Resolved: asked the gateway\n$/);
  const audited = await shop.database.query(
    "select actor, method, request from audit_entry where request like $1",
    [`%${id}%`],
  );
  expect(audited).toEqual([
    {
      actor: "operator",
      method: "admin payments resolve",
      request: JSON.stringify({ id, resolution: "asked the gateway" }),
    },
  ]);
  const unknown = await payments("resolve", "--id", order.id, "--resolution", "none");
  expect(unknown).toMatchObject({
    code: 1,
    out: "",
    errors: expect.stringContaining("Not found: discrepancy"),
  });
});

const ID = "01a22166-fe4e-70ec-99d5-428e302cd8df";
test.each([
  [[], "Expected one command after payments"],
  [["lists"], "Expected one command after payments"],
  [["list", "discrepancies"], "Expected one command after payments"],
  [["list", "--attention", "all"], "--attention"],
  [["list", "--order", "1"], "--order"],
  [["list", "--id", ID], "--id is not an option of payments list"],
  [["discrepancies", "--attention", "failed"], "--attention is not an option"],
  [["resolve", "--id", ID], "--resolution"],
  [["resolve", "--id", ID, "--resolution", "a\0b"], "--resolution"],
  [["resolve", "--id", ID, "--resolution", "a".repeat(501)], "--resolution"],
  [["resolve", "--resolution", "none"], "--id"],
])("payments %j is rejected before anything is changed", (args, message) => {
  expect(() => readAdminCommand(["payments", ...args])).toThrow(StartupError);
  expect(() => readAdminCommand(["payments", ...args])).toThrow(message);
});
