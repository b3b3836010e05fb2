import type { Log } from "../../kernel/log.ts";
import { isEmptyShop } from "./is-empty-shop.ts";
import { seedShop } from "./seed-shop.ts";

/** The size of the demo. */
const DEMO_PRODUCTS = 2_000;
const DEMO_CUSTOMERS = 100;

/** Fills an empty shop with demo data. */
export async function seedDemo(url: string, log: Log): Promise<void> {
  if (!(await isEmptyShop(url))) return;
  const { products, customers, orders, purchases, ms } = await seedShop({
    url,
    products: DEMO_PRODUCTS,
    customers: DEMO_CUSTOMERS,
  });
  log.info({ products, customers, orders, purchases, durationMs: Math.round(ms) }, "Demo data added");
}
