import { randomUUID } from "node:crypto";
import { createCatalog } from "../../../src/catalog/catalog.ts";
import { createCustomers } from "../../../src/customer/customer.ts";
import { entities } from "../../../src/entities.ts";
import { withInvalidationOutbox } from "../../../src/infra/outbox/invalidation-outbox.ts";
import { openPostgres } from "../../../src/infra/postgres/postgres.ts";
import { createInventory } from "../../../src/inventory/inventory.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { createPageTokens } from "../../../src/kernel/page.ts";
import { createOrders } from "../../../src/order/order.ts";
import { createTracker } from "../../../src/tracker/tracker.ts";
import { createTestDatabase } from "../database.ts";
import { silentLog } from "../log.ts";

/** The rooms of a shop whose transactions are listened to, on a database of its own. */
export type HeardShop = Awaited<ReturnType<typeof openHeardShop>>;

/** Opens it. It serves nobody and has no cache. */
export async function openHeardShop() {
  const database = await createTestDatabase();
  const limits = { poolMax: 4, poolWaitMs: 5_000, statementTimeoutMs: 5_000 };
  const plain = await openPostgres({ url: database.url, entities, log: silentLog, ...limits });
  const heard: string[] = [];
  const db = withInvalidationOutbox(plain, {
    enqueue: async (_, tags) => void heard.push(...tags),
    invalidate: async () => {},
  });
  const tokens = createPageTokens(Buffer.alloc(32), systemClock);
  const room = { db, tokens, clock: systemClock, ids: createIds() };
  const inventory = createInventory(room);
  const catalog = createCatalog({ ...room, inventory });
  const customers = createCustomers(room);
  const tracker = createTracker(room);
  const orders = createOrders({ ...room, catalog, inventory, customers, tracker });
  const call = internalCall();
  return {
    ...{ catalog, orders, call },
    /** The cache tags that some work has changed, sorted. */
    async tagsOf(work: () => Promise<unknown>): Promise<string[]> {
      heard.length = 0;
      await work();
      return heard.toSorted();
    },
    async makeCategory() {
      const category = { slug: `c-${randomUUID()}`, name: "Category", parentId: "" };
      return catalog.categories.create(call, { category, requestId: "", validateOnly: false });
    },
    async makeProduct(categoryId: string, stockQuantity: bigint) {
      const product = { ...goods(categoryId), stockQuantity };
      return catalog.products.create(call, { product, requestId: "", validateOnly: false });
    },
    async close() {
      await plain.close();
      await database.drop();
    },
  };
}

/** What staff write of a product. */
export function goods(categoryId: string) {
  const price = { currencyCode: "EUR", minorUnits: 1_000n };
  const texts = { sku: `SKU-${randomUUID()}`, name: "Thing", description: "", brand: "", imageUri: "" };
  return { ...texts, categoryId, price, attributes: {} };
}
