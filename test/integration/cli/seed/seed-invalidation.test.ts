import { expect, test } from "vitest";
import { TotalMode } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { seedShop } from "../../../../src/cli/seed/seed-shop.ts";
import { startShop } from "../../../support/shop.ts";

test("a running service shows the rows that the seed adds although it has cached earlier responses", async () => {
  const shop = await startShop();
  try {
    const countListed = async () => (await shop.catalog.listProducts({ total: TotalMode.EXACT })).totalSize;
    const countInStats = async () =>
      Number((await shop.catalog.getCatalogStats({})).stats?.productCount ?? -1n);
    await seedShop({ url: shop.database.url, products: 100, customers: 10 });
    await expect.poll(countListed).toBe(100);
    await expect.poll(countInStats).toBe(100);
    await seedShop({ url: shop.database.url, products: 150, customers: 10 });
    await expect.poll(countListed).toBe(150);
    await expect.poll(countInStats).toBe(150);
  } finally {
    await shop.close();
  }
});
