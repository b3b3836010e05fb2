import { expect, test } from "vitest";
import { TotalMode } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { seedShop } from "../../../../src/cli/seed/seed-shop.ts";
import { startShop } from "../../../support/shop.ts";

test("a shop that runs, and has cached what was there, shows what a seed adds beside it", async () => {
  const shop = await startShop();
  try {
    const total = async () => (await shop.catalog.listProducts({ total: TotalMode.EXACT })).totalSize;
    const counted = async () => Number((await shop.catalog.getCatalogStats({})).stats?.productCount ?? -1n);
    await seedShop({ url: shop.database.url, products: 100, customers: 10 });
    await expect.poll(total).toBe(100);
    await expect.poll(counted).toBe(100);
    await seedShop({ url: shop.database.url, products: 150, customers: 10 });
    await expect.poll(total).toBe(150);
    await expect.poll(counted).toBe(150);
  } finally {
    await shop.close();
  }
});
