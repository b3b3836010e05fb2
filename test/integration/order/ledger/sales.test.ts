import { afterAll, beforeAll, expect, test } from "vitest";
import { placeOrder } from "../../../support/orders/order-fixtures.ts";
import {
  factOf,
  insertPayment,
  type LedgerReplica,
  openLedger,
  webhookOf,
} from "../../../support/payments/ledger-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";
import { makePromotion } from "../../../support/tracker/promotion-fixtures.ts";

let shop: TestShop;
let ledger: LedgerReplica;
beforeAll(async () => {
  shop = await startShop();
  ledger = await openLedger(shop.database);
});
afterAll(async () => {
  await ledger.close();
  await shop.close();
});

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
  await ledger.writer.apply(webhookOf(payment, [declined]));
  expect(await salesOf(promotionId)).toEqual([]);
  await ledger.writer.apply(webhookOf(payment, [factOf(payment, "AUTHORIZED")]));
  expect(await salesOf(promotionId)).toEqual([sale]);
  await ledger.writer.apply(
    webhookOf(payment, [factOf(payment, "CAPTURED", { reference: `ch_${payment.id}` })]),
  );
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
      const captured = factOf(payment, "CAPTURED", { reference: `ch_${payment.id}` });
      await ledger.writer.apply(webhookOf(payment, [captured]));
    }),
  );
  const sales = await Promise.all(promotionIds.map(salesOf));
  expect(sales.map(({ length }) => length)).toEqual([9, 10, 10]);
  expect(await findViolations(shop.database.url)).toEqual([]);
});
