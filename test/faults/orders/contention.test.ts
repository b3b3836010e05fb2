import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { orderOverlappingBaskets } from "../../support/orders/contention.ts";
import { describeFailure } from "../../support/orders/order-load.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";

// A crowd of calls takes long on a busy machine.
vi.setConfig({ testTimeout: 600_000 });

let shop: TestShop;
beforeEach(async () => {
  shop = await startShop();
});
afterEach(() => shop.close());

test("of 1,000 concurrent buyers of 100 units, exactly 100 get an order and 900 are out of stock", async () => {
  const productId = await makeProduct(shop, { stock: 100n });
  const outcomes = await Promise.all(
    Array.from({ length: 1_000 }, () =>
      shop.orders
        .createOrder({ requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } })
        .then(() => "ordered", describeFailure),
    ),
  );
  const counts = Map.groupBy(outcomes, (outcome) => outcome);
  expect(Object.fromEntries([...counts].map(([outcome, { length }]) => [outcome, length]))).toEqual({
    ordered: 100,
    "FailedPrecondition OUT_OF_STOCK": 900,
  });
  expect(await stockOf(shop, productId)).toBe(0n);
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("200 clients order overlapping products in random order, while others cancel, adjust and import, without a deadlock", async () => {
  const { deadlocks, ...counts } = await orderOverlappingBaskets(shop, 600);
  expect(deadlocks).toBe(0);
  for (const count of Object.values(counts)) expect(count).toBeGreaterThan(0);
});
