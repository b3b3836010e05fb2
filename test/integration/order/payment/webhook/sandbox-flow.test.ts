import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { PaymentState } from "../../../../../gen/cartwright/order/v1/order_pb.ts";
import { signWebhook } from "../../../../../src/infra/payment/webhook-signature.ts";
import { placeOrder } from "../../../../support/orders/order-fixtures.ts";
import { startShop, type TestShop } from "../../../../support/shop.ts";
import { findViolations } from "../../../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ PAYMENT_GATEWAY: "sandbox", PAYMENT_CAPTURE: "order", PAYMENT_TIMEOUT_MS: "100" });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

test("the webhooks of a payment are delivered over HTTP, stored once and applied, and change nothing that its response has stated", async () => {
  const { id: orderId } = await placeOrder(shop, [2n]);
  const { payment } = await shop.payments.createPayment({
    payment: { orderId },
    paymentMethod: "sandbox_ok",
    requestId: randomUUID(),
  });
  const { order } = await shop.orders.getOrder({ id: orderId });
  expect(order?.paymentState).toBe(PaymentState.PAID);
  await expect
    .poll(() => shop.database.query("select type, outcome, attempts from webhook_event"))
    .toEqual([{ type: "payment.captured", outcome: "APPLIED", attempts: 0 }]);
  await expect.poll(() => shop.database.query("select from sandbox_event")).toEqual([]);
  const { entries } = await shop.payments.listLedgerEntries({ paymentId: payment?.id ?? "" });
  expect(entries).toHaveLength(1);
  expect((await shop.orders.getOrder({ id: orderId })).order).toEqual(order);
});

test("a payment without a response is authorized by its webhook", async () => {
  const { id: orderId } = await placeOrder(shop, [2n]);
  const { payment } = await shop.payments.createPayment({
    payment: { orderId },
    paymentMethod: "sandbox_timeout",
    requestId: randomUUID(),
  });
  expect(payment?.inDoubt).toBe(true);
  await expect
    .poll(async () => (await shop.orders.getOrder({ id: orderId })).order?.paymentState, { timeout: 30_000 })
    .toBe(PaymentState.PAID);
});

describe("a signed webhook", () => {
  const event = (
    id: string,
    { payment = {}, fact = {}, ...changes }: Record<string, object | string> = {},
  ) => ({
    id: `se_${id}`,
    type: "payment.captured",
    createTime: "2026-12-01T12:00:00.000Z",
    payment: {
      reference: `sp_${id}`,
      paymentId: randomUUID(),
      amount: "1000",
      currency: "EUR",
      ...Object(payment),
    },
    fact: {
      type: "CAPTURED",
      reference: `sc_${id}`,
      amount: "1000",
      time: "2026-12-01T12:00:00.000Z",
      ...Object(fact),
    },
    ...changes,
  });

  async function post(value: object): Promise<number> {
    const [row] = await shop.database.query<{ value: Buffer }>(
      "select value from secret where name = 'sandbox-webhook/0'",
    );
    const body = Buffer.from(JSON.stringify(value));
    const signature = signWebhook(body, row?.value.toString("hex") ?? "", new Date());
    const headers = { "sandbox-signature": signature, "content-type": "application/json" };
    const response = await fetch(`${shop.url}/webhooks/sandbox`, { method: "POST", headers, body });
    await response.arrayBuffer();
    return response.status;
  }

  const storedIds = async (where: string) =>
    (await shop.database.query<{ id: string }>(`select event_id as id from webhook_event where ${where}`))
      .map(({ id }) => id)
      .sort();

  test.each([
    ["NUL in its type", { type: "payment.\0" }],
    ["NUL in the reference of the payment", { payment: { reference: "sp_\0" } }],
    ["NUL in the reference of a fact", { fact: { reference: "sc_\0" } }],
    ["NUL in a note", { fact: { note: "\0" } }],
    ["a lone surrogate", { fact: { reference: "\ud800" } }],
    ["an amount past 64 bits", { fact: { amount: "9223372036854775808" } }],
    ["a payment past 64 bits", { payment: { amount: "9999999999999999999" } }],
    ["an amount past that of any payment", { fact: { amount: "1000000000000001" } }],
  ])("with %s is refused and not stored", async (_, changes) => {
    expect(await post(event("refused", changes))).toBe(400);
    expect(await storedIds("event_id = 'se_refused'")).toEqual([]);
  });

  test("with the greatest amounts and the longest texts is applied", async () => {
    const long = "\u{1F600}".repeat(120);
    const greatest = "1000000000000000";
    const events = [
      event("amounts", { payment: { amount: greatest }, fact: { amount: greatest } }),
      event("texts", { payment: { reference: long }, fact: { reference: long, note: long } }),
    ];
    for (const one of events) expect(await post(one)).toBe(200);
    await expect
      .poll(() => storedIds("outcome is not null"))
      .toEqual(expect.arrayContaining(events.map(({ id }) => id)));
  });
});
