import { expect, onTestFinished, test, vi } from "vitest";
import { startOrderLoad } from "../../support/orders/order-load.ts";
import { startShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";
import { whileLocked } from "../../support/stores/database-activity.ts";

vi.setConfig({ testTimeout: 600_000 });

test("orders that fail while all connections are in use are completed by repeats", async () => {
  const shop = await startShop({ DB_POOL_MAX: "3", DB_POOL_WAIT_MS: "300", DB_STATEMENT_TIMEOUT_MS: "1000" });
  onTestFinished(() => shop.close());
  const productIds = [await makeProduct(shop, { stock: 1_000n }), await makeProduct(shop, { stock: 1_000n })];
  const load = startOrderLoad({ buyers: 30, productIds, clients: async () => shop });
  await whileLocked(shop.database, productIds[0] ?? "", async () => {
    await expect.poll(() => load.failures.size).toBeGreaterThan(0);
  });
  await load.progress(100);
  await load.stop();
  const expected = ["Aborted CONTENTION", "Unavailable DATABASE_BUSY", "DeadlineExceeded STATEMENT_TIMEOUT"];
  expect([...load.failures].filter((failure) => !expected.includes(failure))).toEqual([]);
  await load.expectStored(shop.database, shop);
});
