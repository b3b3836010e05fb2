import { openDatabaseLoad } from "../harness/database-load.ts";
import type { Part } from "../harness/part.ts";
import { openOrderShop } from "../orders/order-shop.ts";
import { measurePaidOrders } from "../orders/paid-orders.ts";

const PRODUCTS = 20_000;

/** Measures orders that are placed and paid in the sandbox. */
export const payments: Part = async ({ products }) => {
  const shop = await openOrderShop(Math.min(PRODUCTS, products));
  const load = await openDatabaseLoad(shop.serverUrl);
  try {
    return await measurePaidOrders(shop, load);
  } finally {
    await load.close();
    await shop.close();
  }
};
