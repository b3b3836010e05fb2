import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { PaymentState as OrderPaymentState } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { PaymentState } from "../../../gen/cartwright/payment/v1/payment_pb.ts";
import { placeOrder } from "../../support/orders/order-fixtures.ts";
import {
  endDelays,
  lockTable,
  SANDBOX_ENV,
  startRepairingWorker,
  startService,
  unlockTable,
  waitForBlocked,
} from "../../support/payments/killed-service.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { findViolations } from "../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  // Neither runs jobs nor reconciles; its sandbox delivers the webhooks that a killed process has left.
  shop = await startShop({ ...SANDBOX_ENV, WORKERS: "0" });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

/** The way by which the payment of a killed process reaches its order. */
type Repair = "repeat" | "reconciliation" | "webhook" | "stored webhook";

interface Step {
  name: string;
  /** The table whose lock the process waits for when it is killed. */
  table: string;
  /** What is committed by then. */
  committed: { payments: number; intents: number; webhooks: number };
  repairs: readonly Repair[];
}

const steps: readonly Step[] = [
  {
    name: "before the payment is committed",
    table: "payment",
    committed: { payments: 0, intents: 0, webhooks: 0 },
    repairs: ["repeat"],
  },
  {
    name: "before the gateway has received the request",
    table: "sandbox_payment",
    committed: { payments: 1, intents: 0, webhooks: 0 },
    repairs: ["repeat", "reconciliation"],
  },
  {
    name: "before the response of the gateway is applied",
    table: "ledger_entry",
    committed: { payments: 1, intents: 1, webhooks: 1 },
    repairs: ["repeat", "reconciliation", "stored webhook"],
  },
  {
    name: "before the webhook is stored",
    table: "webhook_event",
    committed: { payments: 1, intents: 1, webhooks: 0 },
    repairs: ["webhook"],
  },
];

async function countRows(orderId: string) {
  const [row] = await shop.database.query(
    `select (select count(*)::int from payment where order_id = $1) as payments,
       (select count(*)::int from sandbox_payment where order_id = $1) as intents,
       (select count(*)::int from webhook_event
         where convert_from(body, 'UTF8') like '%' || (select id from payment where order_id = $1) || '%') as webhooks`,
    [orderId],
  );
  return row;
}

/** Removes the other ways by which the payment could reach its order. */
async function allowOnly(repair: Repair): Promise<void> {
  const { query } = shop.database;
  if (repair !== "reconciliation")
    await query("update payment set check_at = now() + interval '1 day' where check_at is not null");
  if (repair !== "webhook") await query("delete from sandbox_event");
  if (repair !== "stored webhook") await query("delete from webhook_event where processed_at is null");
}

const cases = steps.flatMap((step) => step.repairs.map((repair) => [step.name, repair, step] as const));

test.each(cases)(
  "a payment of a process that is killed %s is captured once by the %s",
  async (_name, repair, { table, committed }) => {
    const { id: orderId } = await placeOrder(shop, [2n]);
    const request = { payment: { orderId }, paymentMethod: "sandbox_ok", requestId: randomUUID() };
    const service = await startService(shop.database, { WORKERS: "0" });
    await lockTable(shop.database, table);
    const call = service.clients.payments.createPayment(request).catch((error: unknown) => error);
    await waitForBlocked(shop.database, table);
    await expect.poll(() => countRows(orderId)).toEqual(committed);
    await service.kill();
    await call;
    await unlockTable(shop.database);

    await endDelays(shop.database);
    await allowOnly(repair);
    if (repair === "repeat") await shop.payments.createPayment(request);
    else await startRepairingWorker(shop.database);
    await expect
      .poll(async () => (await shop.orders.getOrder({ id: orderId })).order?.paymentState)
      .toBe(OrderPaymentState.PAID);
    const { payments } = await shop.payments.listPayments({ orderId });
    expect(payments).toMatchObject([{ state: PaymentState.CAPTURED, inDoubt: false }]);
    expect((await shop.payments.listLedgerEntries({ orderId })).entries).toHaveLength(1);
    const webhooks = repair === "webhook" || repair === "stored webhook" ? 1 : expect.any(Number);
    await expect.poll(() => countRows(orderId)).toEqual({ payments: 1, intents: 1, webhooks });
    await expect
      .poll(() => shop.database.query("select from webhook_event where processed_at is null"))
      .toEqual([]);
  },
);
