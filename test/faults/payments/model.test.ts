import { expect, onTestFinished, test, vi } from "vitest";
import { checkPayments, type PaymentCoverage } from "../../support/payments/model/check-payments.ts";
import { startServicePayments } from "../../support/payments/model/service-shop.ts";
import type { BankPayment } from "../../support/payments/unreliable-bank.ts";

// Hundreds of calls take long on a busy machine.
vi.setConfig({ testTimeout: 600_000 });

/**
 * Seed of runs that reach all of the outcomes together, found by trying. Commands are run one after the other, and jobs only
 * when a command says so. A change of the commands needs another seed.
 */
const SEED = 44;

const FAULTS = [
  ...["lost", "error after work", "death", "other payment", "late"].flatMap((fault) => [
    `fault ${fault} of pay`,
    `fault ${fault} of run jobs`,
  ]),
  ...["lost", "error after work", "late"].map((fault) => `fault ${fault} of reconcile`),
];
const OUTCOMES = [
  ...["OK", "ORDER_STATE", "PAYMENT_OPEN"].map((reply) => `pay ${reply}`),
  ...["OK", "PAYMENT_STATE", "PAYMENT_NOT_FOUND"].map((reply) => `confirm ${reply}`),
  ...["OK", "ORDER_STATE"].map((reply) => `ship ${reply}`),
  ...["OK", "ORDER_STATE"].map((reply) => `cancel ${reply}`),
  ...["OK", "ORDER_STATE", "QUANTITY_TOO_LARGE"].map((reply) => `refund unit ${reply}`),
  ...["OK", "REFUND_TOO_LARGE"].map((reply) => `refund amount ${reply}`),
  ...["OK", "NOTHING_TO_REFUND"].map((reply) => `refund shipping ${reply}`),
  ...["AUTHORIZED", "AUTHORIZATION_FAILED", "VOIDED", "CAPTURED", "REFUNDED"].map(
    (type) => `deliver ${type}`,
  ),
];

async function checkService(capture: "AT_SHIPMENT" | "AT_ORDER"): Promise<PaymentCoverage> {
  const service = await startServicePayments(capture);
  onTestFinished(() => service.close());
  const { failure, coverage } = await checkPayments({
    seed: SEED,
    runs: 10,
    maxCommands: 40,
    openRun: () => service.openRun(),
  });
  expect(failure).toBeUndefined();
  return coverage;
}

test("payments behave as the model in fixed runs that have every outcome, whatever the gateway does", async () => {
  const reached = new Set<string>();
  for (const capture of ["AT_SHIPMENT", "AT_ORDER"] as const) {
    for (const outcome of Object.keys(await checkService(capture))) reached.add(outcome);
  }
  expect([...OUTCOMES, ...FAULTS].filter((outcome) => !reached.has(outcome))).toEqual([]);
});

test("a cancellation is repeated after a response about another payment", async () => {
  const service = await startServicePayments("AT_SHIPMENT");
  onTestFinished(() => service.close());
  const { shop, gateway } = await service.openRun();
  const lines = [{ product: 0, quantity: 1 }];
  const [order, other] = [await shop.place(lines, false), await shop.place(lines, false)];
  expect([await shop.pay(order, "ok"), await shop.pay(other, "ok")]).toEqual(["OK", "OK"]);
  expect(await shop.cancel(order)).toBe("OK");
  gateway.nextFault = "other payment";
  expect(await shop.runJobs()).toBe(1);
  expect(await shop.runJobs()).toBe(0);
  const isVoided = ({ orderId, facts }: BankPayment) =>
    orderId === order && facts.some(({ type }) => type === "VOIDED");
  expect(gateway.bank.payments.filter(isVoided)).toHaveLength(1);
  expect(await shop.findViolations()).toEqual([]);
});
