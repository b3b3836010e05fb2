import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import {
  type Order,
  PaymentState as OrderPaymentState,
  OrderState,
} from "../../../gen/cartwright/order/v1/order_pb.ts";
import { GatewayError } from "../../../src/infra/payment/payment-gateway.ts";
import { endLeases, setExpiry } from "../../support/orders/expiry-worker.ts";
import { placeOrder, stockOfItems } from "../../support/orders/order-fixtures.ts";
import {
  createMemoryGateway,
  type MemoryGateway,
  noResponse,
} from "../../support/payments/memory-gateway.ts";
import { createPayment, placeWithPayment } from "../../support/payments/payment-fixtures.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { findViolations } from "../../support/stores/invariants.ts";

const NO_LIMITS = { signal: new AbortController().signal, timeoutMs: 60_000 };

interface RacedShop {
  shop: TestShop;
  gateway: MemoryGateway;
}

/** Starts a shop with a worker and a gateway in memory. */
async function startRacedShop(capture: "order" | "shipment"): Promise<RacedShop> {
  const gateway = createMemoryGateway();
  const env = { PAYMENT_GATEWAY: "sandbox", PAYMENT_CAPTURE: capture, PAYMENT_TIMEOUT_MS: "30000" };
  const shop = await startShop(env, undefined, undefined, () => gateway);
  return { shop, gateway };
}

let atOrder: RacedShop;
let atShipment: RacedShop;
beforeAll(async () => {
  atOrder = await startRacedShop("order");
  atShipment = await startRacedShop("shipment");
});
afterEach(async () => {
  for (const { shop } of [atOrder, atShipment]) expect(await findViolations(shop.database.url)).toEqual([]);
});
afterAll(async () => {
  await atOrder.shop.close();
  await atShipment.shop.close();
});

const orderOf = async ({ shop }: RacedShop, id: string) => (await shop.orders.getOrder({ id })).order;
const closingOf = ({ shop }: RacedShop, id: string) =>
  shop.database.query("select closing from orders where id = $1", [id]);
const callsOf = ({ gateway }: RacedShop, method: string, key?: string) =>
  gateway.calls.filter((call) => call.method === method && (key === undefined || call.key === key)).length;

test("an order whose buyer confirms the payment at the gateway after its expiry has begun is paid and does not expire", async () => {
  const { shop, gateway } = atOrder;
  const { order, payment } = await placeWithPayment(shop, [2n], "second_step");
  const delay = Promise.withResolvers<void>();
  gateway.failNext("cancel", { delay: delay.promise });
  await setExpiry(shop.database, "-1 second", order.id);
  await expect.poll(() => callsOf(atOrder, "cancel", payment.id)).toBe(1);
  const confirmation = {
    paymentId: payment.id,
    reference: `pi_${payment.id}`,
    requestId: "buyer",
    methodToken: "ok",
  };
  await gateway.confirm(confirmation, NO_LIMITS);
  delay.resolve();
  await expect
    .poll(async () => (await orderOf(atOrder, order.id))?.paymentState)
    .toBe(OrderPaymentState.PAID);
  await expect.poll(async () => shop.database.query("select from order_expiry")).toEqual([]);
  expect(await orderOf(atOrder, order.id)).toMatchObject({
    state: OrderState.CONFIRMED,
    paidAmount: { minorUnits: 2_000n },
    refundedAmount: { minorUnits: 0n },
  });
  expect(await stockOfItems(shop, order)).toEqual([{ onHand: 100, reserved: 2 }]);
  expect(callsOf(atOrder, "refund")).toBe(0);
});

test("an order whose buyer authorizes the payment before the gateway has cancelled it expires, and keeps no authorization", async () => {
  const { shop, gateway } = atShipment;
  const { order, payment } = await placeWithPayment(shop, [2n], "second_step");
  const delay = Promise.withResolvers<void>();
  gateway.failNext("cancel", { delay: delay.promise });
  await setExpiry(shop.database, "-1 second", order.id);
  await expect.poll(() => callsOf(atShipment, "cancel", payment.id)).toBe(1);
  const confirmation = {
    paymentId: payment.id,
    reference: `pi_${payment.id}`,
    requestId: "buyer",
    methodToken: "ok",
  };
  await gateway.confirm(confirmation, NO_LIMITS);
  delay.resolve();
  await expect.poll(async () => (await orderOf(atShipment, order.id))?.state).toBe(OrderState.EXPIRED);
  expect(gateway.factsOf(payment.id).map(({ type }) => type)).toEqual(["AUTHORIZED", "VOIDED"]);
  expect(await stockOfItems(shop, order)).toEqual([{ onHand: 100, reserved: 0 }]);
});

test.each([
  ["order", "refund", "REFUNDED"],
  ["shipment", "cancel", "VOIDED"],
] as const)(
  "a payment whose creation arrives after its order has expired, captured at the %s, is released once by a %s",
  async (capture, method, type) => {
    const raced = capture === "order" ? atOrder : atShipment;
    const { shop, gateway } = raced;
    const order = await placeOrder(shop, [2n]);
    const delay = Promise.withResolvers<void>();
    gateway.failNext("createIntent", { delay: delay.promise });
    const created = createPayment(shop, order.id);
    await expect
      .poll(async () => (await shop.payments.listPayments({ orderId: order.id })).payments.length)
      .toBe(1);
    const before = callsOf(raced, method);
    await setExpiry(shop.database, "-1 second", order.id);
    await expect.poll(async () => (await orderOf(raced, order.id))?.state).toBe(OrderState.EXPIRED);
    delay.resolve();
    const { id } = await created;
    await expect.poll(() => gateway.factsOf(id).map((fact) => fact.type)).toContain(type);
    await expect
      .poll(() =>
        shop.database.query("select from payment_request where order_id = $1 and state = 'OPEN'", [order.id]),
      )
      .toEqual([]);
    expect(callsOf(raced, method)).toBe(before + 1);
    expect(await orderOf(raced, order.id)).toMatchObject({ state: OrderState.EXPIRED });
  },
);

test.each([
  ["does not respond", { before: noResponse() }],
  ["does not respond after it has cancelled the payment", { after: noResponse() }],
  [
    "responds about another payment",
    { after: new GatewayError("CONTRADICTION", "The response is about another payment.") },
  ],
])(
  "an order whose gateway %s keeps its units until the outcome is known, and expires then",
  async (_, fault) => {
    const { shop, gateway } = atOrder;
    const { order, payment } = await placeWithPayment(shop, [2n], "second_step");
    gateway.failNext("cancel", fault, fault);
    await setExpiry(shop.database, "-1 second", order.id);
    for (let count = 1; count <= 2; count += 1) {
      await expect.poll(() => callsOf(atOrder, "cancel", payment.id)).toBe(count);
      // The round has ended: it has postponed the expiry.
      await expect
        .poll(() => shop.database.query("select from order_expiry where retry_at < now() + interval '25 s'"))
        .toHaveLength(1);
      expect(await closingOf(atOrder, order.id)).toEqual([{ closing: "EXPIRING" }]);
      expect(await stockOfItems(shop, order)).toEqual([{ onHand: 100, reserved: 2 }]);
      await endLeases(shop.database);
    }
    await expect.poll(async () => (await orderOf(atOrder, order.id))?.state).toBe(OrderState.EXPIRED);
    expect(await stockOfItems(shop, order)).toEqual([{ onHand: 100, reserved: 0 }]);
  },
);

test("of 60 orders whose payments race their expiry, each is paid or has expired, and no money is kept of those that have expired", async () => {
  const { shop, gateway } = atOrder;
  const placed = await Promise.all(Array.from({ length: 60 }, () => placeOrder(shop, [2n])));
  const ids = placed.map(({ id }) => id);
  const [early, late] = [ids.slice(0, 30), ids.slice(30)];
  // Half of the payments begin before the expiry.
  const created = early.map((id) => createPayment(shop, id).catch(() => undefined));
  await setExpiry(shop.database, "-1 second", ...ids);
  created.push(...late.map((id) => createPayment(shop, id).catch(() => undefined)));
  await Promise.all(created);
  const states = async () => Promise.all(ids.map((id) => orderOf(atOrder, id)));
  const isExpired = (order: Order | undefined) => order?.state === OrderState.EXPIRED;
  const isPaid = (order: Order | undefined) => order?.paymentState === OrderPaymentState.PAID;
  await expect
    .poll(async () => (await states()).every((order) => isPaid(order) || isExpired(order)))
    .toBe(true);
  await expect.poll(() => shop.database.query("select from order_expiry")).toEqual([]);
  await expect
    .poll(() => shop.database.query("select from payment_request where state <> 'DONE'"))
    .toEqual([]);
  for (const order of await states()) {
    const { payments } = await shop.payments.listPayments({ orderId: order?.id ?? "" });
    const facts = payments.flatMap(({ id, gatewayReference }) =>
      gatewayReference === "" ? [] : gateway.factsOf(id).map(({ type }) => type),
    );
    const returned = ["AUTHORIZED", "CAPTURED", "REFUNDED"];
    if (isExpired(order)) expect([[], returned]).toContainEqual(facts);
    else expect(facts).toEqual(["AUTHORIZED", "CAPTURED"]);
  }
});
