import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OrderActor } from "../../../../gen/cartwright/order/v1/order_actor_pb.ts";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { OrderTransition } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { PaymentState } from "../../../../gen/cartwright/payment/v1/payment_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { createAccount } from "../../../support/identity/test-accounts.ts";
import { silentLog } from "../../../support/log.ts";
import { clientsWithOrderToken, placeGuestOrder } from "../../../support/orders/guest-callers.ts";
import { createMemoryGateway } from "../../../support/payments/memory-gateway.ts";
import { createPayment } from "../../../support/payments/payment-fixtures.ts";
import { type Clients, startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";

const gateway = createMemoryGateway();
let shop: TestShop;
let admin: Clients;
let productId: string;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on", GUEST_CHECKOUT: "on" }, silentLog, undefined, () => gateway);
  admin = await createAccount(shop, "ADMIN");
  productId = await makeProduct(admin, { stock: 100n });
});
afterAll(() => shop.close());

const creation = (orderId: string) => ({
  requestId: randomUUID(),
  payment: { orderId },
  paymentMethod: "ok",
});

test("the token of a guest's order creates, confirms and cancels its payments, and reads no references", async () => {
  const { id, orderToken } = await placeGuestOrder(shop, productId);
  const guest = clientsWithOrderToken(shop, orderToken);
  const { order } = await guest.orders.getOrder({ id });
  expect(order?.allowedTransitions).toContain(OrderTransition.PAY);
  const waiting = await createPayment(guest, id, "");
  expect(waiting).toMatchObject({ state: PaymentState.ACTION_REQUIRED, gatewayReference: "" });
  await guest.payments.cancelPayment({ id: waiting.id });
  const declined = await createPayment(guest, id, "declined");
  const confirmation = { id: declined.id, requestId: randomUUID(), paymentMethod: "ok" };
  expect((await guest.payments.confirmPayment(confirmation)).payment).toMatchObject({
    state: PaymentState.AUTHORIZED,
    gatewayReference: "",
  });
  const { payments } = await guest.payments.listPayments({ orderId: id });
  expect(payments.map((payment) => payment.id)).toEqual([declined.id, waiting.id]);
  const { payment } = await admin.payments.getPayment({ id: declined.id });
  expect(payment?.gatewayReference).toBe(`pi_${declined.id}`);
  const { events } = await admin.orders.listOrderEvents({ id });
  expect(events.map(({ type, actor }) => [type, actor])).toEqual([
    [OrderEventType.PLACED, OrderActor.GUEST],
    [OrderEventType.PAYMENT_FAILED, OrderActor.SYSTEM],
    [OrderEventType.PAYMENT_AUTHORIZED, OrderActor.SYSTEM],
  ]);
});

test("without the token of the order, or with that of another one, callers reach none of its payments", async () => {
  const [mine, other] = [await placeGuestOrder(shop, productId), await placeGuestOrder(shop, productId)];
  const { id } = await createPayment(clientsWithOrderToken(shop, mine.orderToken), mine.id, "");
  const stranger = clientsWithOrderToken(shop, other.orderToken);
  const customer = await createAccount(shop, "CUSTOMER");
  const before = gateway.calls.length;
  for (const caller of [stranger, customer]) {
    const { payments } = caller;
    expect(await failureOf(payments.createPayment(creation(mine.id)))).toMatchObject({
      reason: "ORDER_NOT_FOUND",
    });
    for (const call of [
      () => payments.getPayment({ id }),
      () => payments.confirmPayment({ id, requestId: randomUUID(), paymentMethod: "ok" }),
      () => payments.cancelPayment({ id }),
    ]) {
      expect(await failureOf(call())).toMatchObject({ code: "NotFound", reason: "PAYMENT_NOT_FOUND" });
    }
  }
  expect(await failureOf(shop.payments.createPayment(creation(mine.id)))).toMatchObject({
    code: "Unauthenticated",
    reason: "SIGN_IN_REQUIRED",
  });
  expect(gateway.calls).toHaveLength(before);
});

test("customers and guests capture nothing", async () => {
  const { id: orderId, orderToken } = await placeGuestOrder(shop, productId);
  const guest = clientsWithOrderToken(shop, orderToken);
  const { id } = await createPayment(guest, orderId);
  const customer = await createAccount(shop, "CUSTOMER");
  for (const caller of [guest, customer]) {
    const failure = await failureOf(caller.payments.capturePayment({ id, requestId: randomUUID() }));
    expect(["Unauthenticated", "PermissionDenied"]).toContain(failure.code);
  }
  expect(gateway.calls.filter(({ method }) => method === "capture")).toEqual([]);
});
