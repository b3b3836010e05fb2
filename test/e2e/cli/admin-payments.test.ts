import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RefundState } from "../../../gen/cartwright/order/v1/refund_pb.ts";
import { readAdminCommand } from "../../../src/cli/admin/options.ts";
import { StartupError } from "../../../src/kernel/errors.ts";
import { type CliResult, startCli } from "../../support/cli/start-cli.ts";
import { placeOrder, placePaidOrder } from "../../support/orders/order-fixtures.ts";
import {
  factOf,
  insertPayment,
  type LedgerReplica,
  openLedger,
  responseOf,
  webhookOf,
} from "../../support/payments/ledger-fixtures.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

/** Without a gateway, so that no service queries it about the payments of the tests. */
let shop: TestShop;
let payingShop: TestShop;
let ledger: LedgerReplica;
beforeAll(async () => {
  shop = await startShop();
  payingShop = await startShop({ PAYMENT_GATEWAY: "sandbox", PAYMENT_CAPTURE: "order" });
  ledger = await openLedger(shop.database);
});
afterAll(async () => {
  await ledger.close();
  await shop.close();
  await payingShop.close();
});

/** Runs the command as `npm run admin -- payments` does. */
function payments(...args: string[]): Promise<CliResult> {
  return paymentsOf(shop, ...args);
}

function paymentsOf({ database }: TestShop, ...args: string[]): Promise<CliResult> {
  return startCli("admin/main.ts", ["payments", ...args], { DATABASE_URL: database.url }).ended;
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

test("payments check makes a running service query the gateway, which finds what no webhook has reported", async () => {
  const order = await placeOrder(payingShop, [2n]);
  const { payment } = await payingShop.payments.createPayment({
    payment: { orderId: order.id },
    requestId: randomUUID(),
    paymentMethod: "sandbox_ok",
  });
  const id = payment?.id ?? "";
  // Its webhook is applied, so that the service has no other reason to query the gateway within minutes.
  const openChecks = () =>
    payingShop.database.query(
      "select from payment where id = $1 and check_at < now() + interval '5 minutes'",
      [id],
    );
  await expect.poll(openChecks).toEqual([]);
  // A refund in the console of the gateway, without a webhook.
  const refund = { type: "REFUNDED", reference: `sr_${id}`, amount: "300", time: new Date().toISOString() };
  await payingShop.database.query(
    "update sandbox_payment set facts = facts || $2::jsonb where payment_id = $1",
    [id, JSON.stringify([refund])],
  );
  expect((await payingShop.orders.getOrder({ id: order.id })).order?.refundedAmount?.minorUnits).toBe(0n);
  const checked = await paymentsOf(payingShop, "check", "--id", id);
  expect(checked).toMatchObject({ code: 0, out: "", errors: expect.stringContaining(`payment ${id}`) });
  const refunded = async () =>
    (await payingShop.orders.getOrder({ id: order.id })).order?.refundedAmount?.minorUnits;
  await expect.poll(refunded, { timeout: 60_000 }).toBe(300n);
  expect(columnsOf(await paymentsOf(payingShop, "list", "--order", order.id))).toEqual([
    expect.arrayContaining([id, "CAPTURED", "2000 EUR", "300 EUR"]),
  ]);
});

test("payments check rejects unknown payments and those by hand", async () => {
  const order = await placePaidOrder(shop, [1n]);
  const [manual] = (await shop.payments.listPayments({ orderId: order.id })).payments;
  expect(await payments("check", "--id", manual?.id ?? "")).toMatchObject({
    code: 1,
    errors: expect.stringContaining("made by hand"),
  });
  expect(await payments("check", "--id", order.id)).toMatchObject({
    code: 1,
    errors: expect.stringContaining("Not found: payment"),
  });
});

test("payments refund refunds an amount by the gateway, once for each request id", async () => {
  const order = await placeOrder(payingShop, [1n, 1n]);
  const { payment } = await payingShop.payments.createPayment({
    payment: { orderId: order.id },
    requestId: randomUUID(),
    paymentMethod: "sandbox_ok",
  });
  const refund = ["refund", "--order", order.id, "--amount", "301 EUR", "--request-id", randomUUID()];
  const computed = await paymentsOf(payingShop, ...refund, "--validate-only");
  expect(computed).toMatchObject({
    code: 0,
    out: "1  151 EUR  0 EUR\n2  150 EUR  0 EUR\nshipping  0 EUR  0 EUR\n",
    errors: expect.stringContaining(`would be 301 EUR of payment ${payment?.id}`),
  });
  const listed = async () => (await payingShop.orders.listRefunds({ id: order.id })).refunds;
  expect(await listed()).toEqual([]);
  const requested = await paymentsOf(payingShop, ...refund);
  expect(requested).toMatchObject({ code: 0, out: computed.out });
  expect(requested.errors).toMatch(/^Requested refund [\da-f-]{36}, .*: 301 EUR of payment /);
  expect((await paymentsOf(payingShop, ...refund)).errors).toBe(requested.errors);
  await expect
    .poll(async () => (await listed()).map(({ state, amount }) => [state, amount?.minorUnits]), {
      timeout: 60_000,
    })
    .toEqual([[RefundState.SUCCEEDED, 301n]]);
  const tooMuch = [...refund.slice(0, 4), "1700 EUR", "--request-id", randomUUID()];
  expect(await paymentsOf(payingShop, ...tooMuch)).toMatchObject({
    code: 1,
    out: "",
    errors: expect.stringContaining("1699"),
  });
  const audited = await payingShop.database.query<{ request: string }>(
    "select request from audit_entry where method = 'admin payments refund'",
  );
  // The repeat is recorded too.
  const amount = { currencyCode: "EUR", minorUnits: "301" };
  expect(audited.map(({ request }) => JSON.parse(request).amount)).toEqual([amount, amount]);
});

test("payments refund records the refund of a payment by hand, with its reference", async () => {
  const { id } = await placePaidOrder(shop, [1n]);
  const refund = ["refund", "--order", id, "--amount", "250 EUR", "--request-id", randomUUID()];
  expect(await payments(...refund)).toMatchObject({ code: 1, errors: expect.stringContaining("reference") });
  const recorded = await payments(...refund, "--reference", "transfer 12", "--reason", "scratched");
  expect(recorded).toMatchObject({
    code: 0,
    errors: expect.stringMatching(/^Recorded refund [\da-f-]{36} of 250 EUR /),
  });
  const { refunds } = await shop.orders.listRefunds({ id });
  expect(refunds.map(({ reference, reason, state }) => [reference, reason, state])).toEqual([
    ["transfer 12", "scratched", RefundState.SUCCEEDED],
  ]);
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
  [["refund", "--order", ID, "--request-id", ID], "Expected either"],
  [["refund", "--order", ID, "--request-id", ID, "--amount", "1 EUR", "--shipping"], "Expected either"],
  [["refund", "--order", ID, "--amount", "1 EUR"], "--request-id"],
  [["refund", "--request-id", ID, "--amount", "1 EUR"], "--order"],
  [["refund", "--order", ID, "--request-id", ID, "--shipping", "--reference", "a\nb"], "--reference"],
  [["check"], "--id"],
  [["check", "--id", "1"], "--id"],
  [["check", "--id", ID, "--order", ID], "--order is not an option"],
])("payments %j is rejected before anything is changed", (args, message) => {
  expect(() => readAdminCommand(["payments", ...args])).toThrow(StartupError);
  expect(() => readAdminCommand(["payments", ...args])).toThrow(message);
});

test.each(["19.90 EUR", "0 EUR", "-1 EUR", "1 eur", "1990"])("the amount %j is not refunded", (amount) => {
  const args = ["refund", "--order", ID, "--request-id", ID, `--amount=${amount}`];
  expect(() => readAdminCommand(["payments", ...args])).toThrow(
    "--amount must be minor units and a currency",
  );
});
