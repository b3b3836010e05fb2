import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { expect, vi } from "vitest";
import type { RefundOrderRequestSchema } from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import type { CaptureMethod } from "../../../../src/infra/payment/payment-gateway.ts";
import { failureOf } from "../../errors.ts";
import { silentLog } from "../../log.ts";
import { ZONE } from "../../orders/model/operation.ts";
import { createModelZones } from "../../orders/model/zones.ts";
import { startShop, type TestShop } from "../../shop.ts";
import { makeProduct } from "../../shop-fixtures.ts";
import { findViolations } from "../../stores/invariants.ts";
import { createUnreliableGateway, SIGNATURE } from "../unreliable-gateway.ts";
import type { PaymentRun } from "./check-payments.ts";
import { PRODUCTS } from "./payment-commands.ts";
import type { PaymentShop, Refunded, Reply } from "./payment-shop.ts";
import { openPaymentWorker, type PaymentWorker } from "./payment-worker.ts";
import { readStoredPayments } from "./stored-payments.ts";

type RefundSubject = Omit<MessageInitShape<typeof RefundOrderRequestSchema>, "$typeName">["subject"];

/** The service with an unreliable gateway, whose jobs and loops run only when a run of the model lets them. */
export interface ServicePayments {
  openRun(): Promise<PaymentRun>;
  close(): Promise<void>;
}

/** What the state of an order or a payment forbids. Anything else is a mistake of the service. */
const REJECTIONS: readonly string[] = [
  "ORDER_STATE",
  "PAYMENT_STATE",
  "PAYMENT_OPEN",
  "REFUND_TOO_LARGE",
  "QUANTITY_TOO_LARGE",
  "NOTHING_TO_REFUND",
  "DISCREPANCY_UNRESOLVED",
  "CAPTURE_UNFINISHED",
];

/** Starts the service. To be called within a test, which closes the connections of the worker. */
export async function startServicePayments(capture: CaptureMethod): Promise<ServicePayments> {
  let gateway = createUnreliableGateway();
  // All runs share the service, and each has a gateway of its own.
  const current = new Proxy(gateway, { get: (_target, name) => Reflect.get(gateway, name) });
  const env = { WORKERS: "0", PAYMENT_CAPTURE: capture === "AT_ORDER" ? "order" : "shipment" };
  const shop = await startShop(env, silentLog, undefined, () => current);
  await createModelZones(shop);
  const worker = await openPaymentWorker(shop.database, current, capture);
  const products = await Promise.all(
    Array.from({ length: PRODUCTS }, (_, index) =>
      makeProduct(shop, { stock: 1_000_000n, minorUnits: BigInt(index + 1) }),
    ),
  );
  return {
    async openRun() {
      gateway = createUnreliableGateway();
      return { gateway, capture, shop: openShop(shop, worker, products) };
    },
    close: () => shop.close(),
  };
}

function openShop(service: TestShop, worker: PaymentWorker, products: readonly string[]): PaymentShop {
  const { orders, payments, database } = service;
  const placed: string[] = [];
  const newestPayment = async (orderId: string) =>
    (await payments.listPayments({ orderId, pageSize: 1 })).payments[0]?.id;
  return {
    ...worker,
    async place(lines, isShipped) {
      const items = lines.map(({ product, quantity }) => ({
        productId: products[product] ?? "",
        quantity: BigInt(quantity),
      }));
      const address = {
        shippingAddress: { countryCode: ZONE.countryCode },
        shippingOption: { id: ZONE.optionId },
      };
      const { order } = await orders.createOrder({
        requestId: randomUUID(),
        order: { items, ...(isShipped && address) },
      });
      placed.push(order?.id ?? "");
      return order?.id ?? "";
    },
    pay: (orderId, paymentMethod) =>
      replyOf(payments.createPayment({ requestId: randomUUID(), payment: { orderId }, paymentMethod })),
    async confirm(orderId, paymentMethod) {
      const id = await newestPayment(orderId);
      if (id === undefined) return "PAYMENT_NOT_FOUND";
      return replyOf(payments.confirmPayment({ id, requestId: randomUUID(), paymentMethod }));
    },
    async ship(id, isAll) {
      const { order } = await orders.getOrder({ id });
      const open = order?.items.find(
        (item) => item.quantity > item.fulfilledQuantity + item.cancelledQuantity,
      );
      const one = open === undefined ? [] : [{ itemId: open.id, quantity: 1n }];
      return replyOf(orders.shipOrder({ id, requestId: randomUUID(), items: isAll ? [] : one }));
    },
    cancel: (id) => replyOf(orders.cancelOrder({ id, requestId: randomUUID() })),
    async refund(id, refunded) {
      const { order } = await orders.getOrder({ id });
      const subject = subjectOf(refunded, order?.items.length ?? 1);
      return replyOf(orders.refundOrder({ id, requestId: randomUUID(), subject }));
    },
    async receive(body) {
      const [name, value] = SIGNATURE;
      const { status } = await fetch(`${service.url}/webhooks/sandbox`, {
        method: "POST",
        headers: { [name]: value },
        body: new Uint8Array(body),
      });
      expect(status).toBe(200);
      await vi.waitFor(
        async () =>
          expect(await database.query("select from webhook_event where processed_at is null")).toEqual([]),
        { timeout: 30_000, interval: 5 },
      );
    },
    read: () => readStoredPayments(database, placed),
    findViolations: () => findViolations(database.url),
  };
}

function subjectOf(refunded: Refunded, items: number): RefundSubject {
  switch (refunded.kind) {
    case "unit": {
      const item = { itemId: String((refunded.item % items) + 1), quantity: 1n };
      return { case: "items", value: { items: [item], includeShipping: true } };
    }
    case "amount":
      return {
        case: "amount",
        value: { currencyCode: "EUR", minorUnits: BigInt(refunded.amount) },
      };
    case "shipping":
      return { case: "shipping", value: true };
  }
}

/** Returns OK, or the reason of a rejection. @throws for any other failure */
async function replyOf(call: Promise<object>): Promise<Reply> {
  const succeeded = await call.then(
    () => true,
    () => false,
  );
  if (succeeded) return "OK";
  const { code, reason = code, message } = await failureOf(call);
  // A caller whose service has died has no response.
  if (code === "DeadlineExceeded") return code;
  if (!REJECTIONS.includes(reason)) throw new Error(`${reason}: ${message}`);
  return reason;
}
