import { randomBytes } from "node:crypto";
import { createCatalog } from "../../../src/catalog/catalog.ts";
import { createCustomers } from "../../../src/customer/customer.ts";
import type { Database } from "../../../src/infra/postgres/postgres.ts";
import { createInventory } from "../../../src/inventory/inventory.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { createPageTokens, type PageTokens } from "../../../src/kernel/page.ts";
import { createOrders } from "../../../src/order/order.ts";
import { createTracker } from "../../../src/tracker/tracker.ts";
import { placementOptions } from "../orders/placement-options.ts";

/** Creates the features on a database. Their page tokens are cursors as JSON, valid for any query, so tests can write them. */
export function buildShop(db: Database) {
  const { createPage } = createPageTokens(randomBytes(32), systemClock);
  const tokens: PageTokens = {
    createPage,
    readCursor: (token) => (token === "" ? undefined : JSON.parse(token)),
  };
  const shared = { db, tokens, clock: systemClock, ids: createIds() };
  const inventory = createInventory(shared);
  const catalog = createCatalog({ ...shared, inventory });
  const customers = createCustomers(shared);
  const tracker = createTracker(shared);
  return {
    catalog,
    customers,
    tracker,
    orders: createOrders({
      ...placementOptions,
      ...shared,
      catalog,
      inventory,
      customers,
      tracker,
    }),
  };
}

export type Shop = ReturnType<typeof buildShop>;
