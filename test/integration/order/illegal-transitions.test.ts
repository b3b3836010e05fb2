import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PaymentMethod } from "../../../gen/cartwright/order/v1/order_event_pb.ts";
import type { Order } from "../../../gen/cartwright/order/v1/order_pb.ts";
import {
  CLOSINGS,
  FULFILLMENT_STATES,
  type OrderStates,
  PAYMENT_STATES,
} from "../../../src/order/state/order-state.ts";
import {
  allowedTransitions,
  CALLER_TRANSITIONS,
  type OrderTransition,
  TRANSITIONS,
} from "../../../src/order/state/transitions.ts";
import { failureOf } from "../../support/errors.ts";
import { silentLog } from "../../support/log.ts";
import { placeOrder } from "../../support/orders/order-fixtures.ts";
import { createMemoryGateway } from "../../support/payments/memory-gateway.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
beforeAll(async () => {
  // The orders of this test are set to states that the sweep must not change.
  shop = await startShop({ ORDER_EXPIRY_MINUTES: "0" }, silentLog, undefined, () => createMemoryGateway());
});
afterAll(() => shop.close());

const items = [{ itemId: "1", quantity: 1n }];
/** The orders are set to states without any money. */
const money = { paid: { minorUnits: 0n }, refunded: { minorUnits: 0n } };

/** The methods of transitions, without an etag, so that the state decides. */
const methods: Readonly<Record<OrderTransition, (id: string) => Promise<unknown>>> = {
  CANCEL: (id) => shop.orders.cancelOrder({ id }),
  MARK_PAID: (id) => {
    const amount = { currencyCode: "EUR", minorUnits: 1n };
    const payment = { amount, method: PaymentMethod.CASH, reference: "receipt" };
    return shop.orders.markOrderPaid({ requestId: randomUUID(), id, ...payment });
  },
  SHIP: (id) => shop.orders.shipOrder({ requestId: randomUUID(), id }),
  DELIVER: (id) => shop.orders.deliverOrder({ requestId: randomUUID(), id }),
  CANCEL_ITEMS: (id) => shop.orders.cancelOrderItems({ requestId: randomUUID(), id, items }),
  RETURN_ITEMS: (id) => shop.orders.returnOrderItems({ requestId: randomUUID(), id, items }),
  SET_EXPIRE_TIME: (id) => shop.orders.setOrderExpireTime({ id, neverExpires: true }),
  PAY: (orderId) =>
    shop.payments.createPayment({ requestId: randomUUID(), payment: { orderId }, paymentMethod: "ok" }),
  REFUND: (id) =>
    shop.orders.refundOrder({ requestId: randomUUID(), id, subject: { case: "shipping", value: true } }),
};

/** Calls that change nothing, instead of failing, when they repeat a transition. */
function isRepeat(transition: OrderTransition, { closing, fulfillmentState }: OrderStates): boolean {
  if (transition === "CANCEL") return closing === "CANCELLED";
  return transition === "DELIVER" && fulfillmentState === "DELIVERED";
}

/** All states that the constraints of the table permit. */
const states = PAYMENT_STATES.flatMap((paymentState) =>
  FULFILLMENT_STATES.flatMap((fulfillmentState) =>
    CLOSINGS.filter((closing) => closing === "NONE" || fulfillmentState === "UNFULFILLED").map(
      (closing): OrderStates => ({ paymentState, fulfillmentState, closing }),
    ),
  ),
);

/** Sets an order of 4 units to states, with the quantities and the fulfillment that they imply. */
async function setStates({ id }: Order, states: OrderStates): Promise<void> {
  const { paymentState, fulfillmentState, closing } = states;
  const fulfilled = { UNFULFILLED: 0, PARTIALLY_FULFILLED: 2, FULFILLED: 4, DELIVERED: 4 }[fulfillmentState];
  const cancelled = closing === "CANCELLED" || closing === "EXPIRED" ? 4 : 0;
  const { query } = shop.database;
  await query("update orders set payment_state = $2, fulfillment_state = $3, closing = $4 where id = $1", [
    id,
    paymentState,
    fulfillmentState,
    closing,
  ]);
  await query("update order_item set fulfilled_quantity = $2, cancelled_quantity = $3 where order_id = $1", [
    id,
    fulfilled,
    cancelled,
  ]);
  if (fulfilled === 0) return;
  await query(
    `with shipped as (
       insert into fulfillment (id, order_id, carrier, tracking_number, tracking_uri, created_at, delivered_at)
       values (gen_random_uuid(), $1, '', '', '', now(), $3) returning id
     )
     insert into fulfillment_item (fulfillment_id, position, quantity) select id, 1, $2 from shipped`,
    [id, fulfilled, fulfillmentState === "DELIVERED" ? new Date() : null],
  );
}

test.each(states)(
  "an order that is $paymentState, $fulfillmentState and $closing rejects each transition that its states forbid",
  async (states) => {
    const order = await placeOrder(shop, [4n]);
    await setStates(order, states);
    const { order: before } = await shop.orders.getOrder({ id: order.id });
    const [item] = before?.items ?? [];
    if (item === undefined) throw new Error("the order has no item");
    const allowed = allowedTransitions({ ...states, ...money, items: [item] });
    const illegal = CALLER_TRANSITIONS.filter(
      (transition) => !allowed.includes(transition) && !isRepeat(transition, states),
    );
    expect(illegal.length).toBeGreaterThan(0);
    for (const transition of illegal) {
      expect(await failureOf(methods[transition](order.id)), transition).toMatchObject({
        code: "FailedPrecondition",
        reason: "ORDER_STATE",
        preconditions: ["STATE"],
        metadata: {
          payment_state: states.paymentState,
          fulfillment_state: states.fulfillmentState,
          allowed_transitions: allowed.join(","),
        },
      });
    }
    expect((await shop.orders.getOrder({ id: order.id })).order).toEqual(before);
  },
);

test("each transition of callers is forbidden by some states and has a method", () => {
  expect(Object.keys(methods).sort()).toEqual([...CALLER_TRANSITIONS].sort());
  expect(Object.keys(TRANSITIONS)).toEqual(expect.arrayContaining([...CALLER_TRANSITIONS]));
});
