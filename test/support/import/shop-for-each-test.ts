import { afterAll, beforeEach } from "vitest";
import { startShop, type TestShop } from "../shop.ts";
import { createCategorySlug } from "./import-rows.ts";

/** Starts a shop with a category before each test of a file: a full import affects all products of a shop. */
export function startShopForEachTest(onStarted: (shop: TestShop, categorySlug: string) => void): void {
  const shops: TestShop[] = [];
  beforeEach(async () => {
    const shop = await startShop();
    shops.push(shop);
    onStarted(shop, await createCategorySlug(shop));
  });
  afterAll(async () => {
    for (const shop of shops) await shop.close();
  });
}
