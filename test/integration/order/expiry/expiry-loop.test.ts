import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EXPIRED_HISTORY, eventTypes, placeOrder, setExpiry } from "../../../support/orders/expiry-worker.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct, stockOf } from "../../../support/shop-fixtures.ts";
import { terminateConnections } from "../../../support/stores/database-activity.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

test("a running service expires an order at its time, and cached responses show its product in stock again", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  const { id } = await placeOrder(shop, productId);
  const units = async () =>
    (await shop.catalog.getProduct({ key: { case: "id", value: productId } })).product?.stockQuantity;
  const listed = async () => (await shop.catalog.listProducts({ inStockOnly: true })).products.length;
  expect([await units(), await listed()]).toEqual([0n, 0]);
  await shop.orders.setOrderExpireTime({ id, expireTime: timestampFromMs(Date.now() + 1_000) });
  await expect.poll(() => eventTypes(shop, id)).toHaveLength(4);
  await expect.poll(async () => [await units(), await listed()]).toEqual([1n, 1]);
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("it expires all due orders, in several rounds, while connections to the database are terminated", async () => {
  const productId = await makeProduct(shop, { stock: 250n });
  const orders = await Promise.all(Array.from({ length: 250 }, () => placeOrder(shop, productId)));
  await setExpiry(shop.database, "-1 second", ...orders.map(({ id }) => id));
  const left = async () =>
    (await shop.database.query("select from orders where closing in ('NONE', 'EXPIRING')")).length;
  await expect.poll(left, { interval: 5 }).toBeLessThan(250);
  await terminateConnections(shop.database);
  await expect
    .poll(async () => {
      await shop.database.query(
        "update order_expiry set retry_at = now() where retry_at > now() + interval '5 s'",
      );
      return left();
    })
    .toBe(0);
  const histories = await Promise.all(orders.map(({ id }) => eventTypes(shop, id)));
  expect(histories).toEqual(orders.map(() => EXPIRED_HISTORY));
  expect(await stockOf(shop, productId)).toBe(250n);
  expect(await findViolations(shop.database.url)).toEqual([]);
});
