import { randomUUID } from "node:crypto";
import { expect, onTestFinished, test, vi } from "vitest";
import { orderOverlappingBaskets } from "../../support/orders/contention.ts";
import { describeFailure } from "../../support/orders/order-load.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";

// A crowd of calls takes long on a busy machine.
vi.setConfig({ testTimeout: 600_000 });

async function openShop(env: Record<string, string> = {}): Promise<TestShop> {
  const shop = await startShop(env);
  onTestFinished(() => shop.close());
  return shop;
}

test("of 1,000 concurrent buyers of 100 units, exactly 100 get an order and 900 are out of stock", async () => {
  const shop = await openShop();
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

// Combined orders of one replica are never concurrent if they overlap; the other strategy depends on the lock order.
test.each(["combined", "pessimistic"])(
  "200 clients order overlapping products in random order with %s orders, while others cancel, adjust and import, without a deadlock",
  async (strategy) => {
    const shop = await openShop({ STOCK_STRATEGY: strategy });
    const { deadlocks, ...counts } = await orderOverlappingBaskets(shop, 400);
    expect(deadlocks).toBe(0);
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(0);
  },
);
