import { afterAll, beforeAll, expect, test } from "vitest";
import { OrderState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { openExpiryWorker, placeOrder, setExpiry } from "../../../support/orders/expiry-worker.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct, stockOf } from "../../../support/shop-fixtures.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ WORKERS: "0" });
});
afterAll(() => shop.close());

test("a row that remained of an earlier expiry keeps no order of the round from expiring", async () => {
  const productId = await makeProduct(shop, { stock: 2n });
  const [first, second] = [await placeOrder(shop, productId), await placeOrder(shop, productId)];
  await shop.database.query("insert into order_expiry values ($1, 7, now() + interval '1 hour')", [first.id]);
  await setExpiry(shop.database, "-1 second", first.id, second.id);
  const worker = await openExpiryWorker(shop.database.url);
  expect(await worker.run()).toEqual({ taken: 2, postponed: 0 });
  for (const { id } of [first, second]) {
    expect((await shop.orders.getOrder({ id })).order?.state).toBe(OrderState.EXPIRED);
  }
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("a worker whose lease has ended does not end the lease of the worker that took the expiry over", async () => {
  const { id } = await placeOrder(shop, await makeProduct(shop, { stock: 1n }));
  await setExpiry(shop.database, "-1 second", id);
  const worker = await openExpiryWorker(shop.database.url, {
    async cancelPayment() {
      await shop.database.query(
        "update order_expiry set attempts = attempts + 1, retry_at = now() + interval '1 hour' where order_id = $1",
        [id],
      );
      throw new Error("the gateway is down");
    },
  });
  expect(await worker.run()).toEqual({ taken: 1, postponed: 1 });
  expect(
    await shop.database.query(
      "select attempts, retry_at > now() + interval '30 minutes' as leased from order_expiry where order_id = $1",
      [id],
    ),
  ).toEqual([{ attempts: 2, leased: true }]);
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("the cancellation of a payment that was made but is never recorded is repeated, so that its units are not reserved permanently", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  const { id } = await placeOrder(shop, productId);
  const outcomes = ["paid", "paid", "cancelled"] as const;
  const calls: string[] = [];
  const worker = await openExpiryWorker(shop.database.url, {
    cancelPayment: async (_call, orderId) => outcomes[calls.push(orderId) - 1] ?? "paid",
  });
  for (const _outcome of outcomes) {
    expect(await stockOf(shop, productId)).toBe(0n);
    await setExpiry(shop.database, "-1 second", id);
    expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  }
  expect(calls).toEqual([id, id, id]);
  expect((await shop.orders.getOrder({ id })).order?.state).toBe(OrderState.EXPIRED);
  expect(await stockOf(shop, productId)).toBe(1n);
});
