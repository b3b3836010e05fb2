import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { requestKey } from "../../../src/order/placement/placement.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeCustomer, makeProduct } from "../../support/shop-fixtures.ts";
import { countLockWaits } from "../../support/stores/database-activity.ts";

let shop: TestShop;
let holder: Client;
beforeAll(async () => {
  shop = await startShop({ STOCK_STRATEGY: "pessimistic" });
  holder = new Client({ connectionString: shop.database.url });
  await holder.connect();
});
afterAll(async () => {
  await holder.end();
  await shop.close();
});

/** Statements that take the lock of a key if it is free, and return a row then. */
const LOCKS = {
  request:
    "select from (select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as taken) as lock where taken",
  customer: "select from customer where id = $1 for update skip locked",
  promotion: "select from promotion where id = $1 for update skip locked",
  stock: "select from inventory where product_id = $1 for update skip locked",
};

/** Creates a request for an order, and the keys of its locks. */
async function prepareOrder(isPromoted: boolean) {
  const [productId, customerId] = [await makeProduct(shop, { stock: 10n }), await makeCustomer(shop)];
  const { promotion } = await shop.tracker.createPromotion({ promotion: { name: "Few", purchaseLimit: 5n } });
  const promotionId = isPromoted ? (promotion?.id ?? "") : "";
  const requestId = randomUUID();
  return {
    request: { requestId, order: { customerId, promotionId, items: [{ productId, quantity: 1n }] } },
    keys: {
      request: requestKey(customerId, requestId),
      customer: customerId,
      promotion: promotionId,
      stock: productId,
    },
  };
}

const orders: [name: string, isPromoted: boolean, locks: (keyof typeof LOCKS)[]][] = [
  ["an order", false, ["request", "customer", "stock"]],
  ["an order with a promotion", true, ["request", "customer", "promotion", "stock"]],
];

test.each(orders)(
  "%s takes its locks in the lock order of all transactions",
  async (_name, isPromoted, locks) => {
    for (const [index, held] of locks.entries()) {
      const { request, keys } = await prepareOrder(isPromoted);
      await holder.query("begin");
      await holder.query(LOCKS[held], [keys[held]]);
      const call = shop.orders.createOrder(request);
      await expect.poll(() => countLockWaits(shop.database)).toBe(1);
      const free = await Promise.all(locks.map((name) => shop.database.query(LOCKS[name], [keys[name]])));
      await holder.query("rollback");
      await call;
      const taken = locks.filter((_, position) => free[position]?.length === 0);
      expect(taken).toEqual(locks.slice(0, index + 1));
    }
  },
);

test("an order that has waited for the stock has the price that was committed meanwhile", async () => {
  const { request, keys } = await prepareOrder(false);
  await holder.query("begin");
  await holder.query(LOCKS.stock, [keys.stock]);
  await holder.query("update product set price_minor = 2500 where id = $1", [keys.stock]);
  const call = shop.orders.createOrder(request);
  await expect.poll(() => countLockWaits(shop.database)).toBe(1);
  await holder.query("commit");
  const { order } = await call;
  expect(order?.totalPrice?.minorUnits).toBe(2_500n);
});
