import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { StockReason } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";

const { RECOUNT, RECEIVED, ORDER, UNSPECIFIED } = StockReason;
const REASON_MESSAGE = "reason: must be RECOUNT, RECEIVED, DAMAGED, RETURNED or CORRECTION";
let shop: TestShop;
let productId: string;
beforeAll(async () => {
  shop = await startShop();
  productId = await makeProduct(shop, { stock: 50n });
  const items = [{ productId, quantity: 5n }];
  await shop.orders.createOrder({ requestId: randomUUID(), order: { items } });
});
afterAll(() => shop.close());

test.each([
  ["a reason of orders", { delta: 1n, reason: ORDER }, REASON_MESSAGE],
  ["no reason", { delta: 1n, reason: UNSPECIFIED }, REASON_MESSAGE],
  ["neither a delta nor a count", { reason: RECOUNT }, "delta: must not be 0 unless on_hand_quantity is set"],
  [
    "a count below the reserved units",
    { onHandQuantity: 0n, reason: RECOUNT },
    "0 units were counted, but pending orders have reserved 5.",
  ],
  ["more units to remove than are left", { delta: -46n, reason: RECOUNT }, "45 left, 46 to be removed."],
  [
    "too many units on hand",
    { delta: 2_000_000_000n, reason: RECEIVED },
    "2000000050 units would be on hand, of which pending orders have reserved 5; the maximum is 2000000000.",
  ],
])("the error for %s says what is wrong", async (_, request, message) => {
  await expect(shop.catalog.adjustStock({ productId, ...request })).rejects.toThrow(message);
});

test("a malformed line rejects its whole batch", async () => {
  const adjustments = [
    { productId, delta: 1n, reason: RECEIVED },
    { productId, delta: 1n },
  ];
  const call = shop.catalog.batchAdjustStock({ adjustments, requestId: randomUUID() });
  await expect(call).rejects.toThrow(
    "adjustments[1].reason: must be RECOUNT, RECEIVED, DAMAGED, RETURNED or CORRECTION",
  );
  expect(await stockOf(shop, productId)).toBe(45n);
});
