import { afterAll, beforeAll, expect, test } from "vitest";
import { placeOrder } from "../../../support/orders/order-fixtures.ts";
import { captureOf, factOf, insertPayment } from "../../../support/payments/ledger-fixtures.ts";
import { type LedgerShop, startLedgerShop } from "../../../support/payments/ledger-shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";
import { makePromotion } from "../../../support/tracker/promotion-fixtures.ts";

let shop: LedgerShop;
beforeAll(async () => {
  shop = await startLedgerShop();
});
afterAll(() => shop.close());

const salesOf = (promotionId: string) =>
  shop.database.query(
    "select order_id, kind, amount_minor from purchase where promotion_id = $1 order by order_id",
    [promotionId],
  );

test("an order becomes a sale of its promotion once: when it is authorized", async () => {
  const promotionId = await makePromotion(shop);
  const { id } = await placeOrder(shop, [2n], { promotionId });
  const payment = await insertPayment(shop.database, id);
  const sale = { order_id: id, kind: "SALE", amount_minor: "2000" };
  const declined = factOf(payment, "AUTHORIZATION_FAILED", { reference: `failed_${payment.id}` });
  await shop.applyFacts(payment, declined);
  expect(await salesOf(promotionId)).toEqual([]);
  await shop.applyFacts(payment, factOf(payment, "AUTHORIZED"));
  expect(await salesOf(promotionId)).toEqual([sale]);
  await shop.applyFacts(payment, captureOf(payment));
  expect(await salesOf(promotionId)).toEqual([sale]);
  const [order] = await shop.database.query("select sales_recorded from orders where id = $1", [id]);
  expect(order).toEqual({ sales_recorded: true });
});

test("orders of several promotions that are paid at the same time become sales, except a cancelled one", async () => {
  const promotionIds = await Promise.all([1, 2, 3].map(() => makePromotion(shop)));
  const orders = await Promise.all(
    Array.from({ length: 30 }, (_, index) =>
      placeOrder(shop, [2n], { promotionId: promotionIds[index % 3] ?? "" }),
    ),
  );
  const [cancelled] = orders;
  await shop.orders.cancelOrder({ id: cancelled?.id ?? "" });
  await Promise.all(
    orders.map(async ({ id }) => {
      const payment = await insertPayment(shop.database, id);
      await shop.applyFacts(payment, captureOf(payment));
    }),
  );
  const sales = await Promise.all(promotionIds.map(salesOf));
  expect(sales.map(({ length }) => length)).toEqual([9, 10, 10]);
  expect(await findViolations(shop.database.url)).toEqual([]);
});
