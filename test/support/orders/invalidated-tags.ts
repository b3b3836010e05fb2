import { randomUUID } from "node:crypto";
import { createCatalog } from "../../../src/catalog/catalog.ts";
import { createCustomers } from "../../../src/customer/customer.ts";
import { entities } from "../../../src/entities.ts";
import { withInvalidationOutbox } from "../../../src/infra/outbox/invalidation/invalidation-outbox.ts";
import { withOutbox } from "../../../src/infra/outbox/outbox.ts";
import { openPostgres } from "../../../src/infra/postgres/postgres.ts";
import { createInventory } from "../../../src/inventory/inventory.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { createPageTokens } from "../../../src/kernel/page.ts";
import { createOrders } from "../../../src/order/order.ts";
import { createTracker } from "../../../src/tracker/tracker.ts";
import { silentLog } from "../log.ts";
import { createTestDatabase } from "../stores/database.ts";
import { placementOptions } from "./placement-options.ts";

/** The catalogue and the orders on a database of their own, with a record of the invalidated tags. */
export type TagRecorder = Awaited<ReturnType<typeof openTagRecorder>>;

/** Opens the features without a server and a cache. */
export async function openTagRecorder() {
  const database = await createTestDatabase();
  const limits = { poolMax: 4, poolWaitMs: 5_000, statementTimeoutMs: 5_000 };
  const plain = await openPostgres({ url: database.url, entities, log: silentLog, ...limits });
  const recorded: string[] = [];
  const db = withInvalidationOutbox(withOutbox(plain, { notify: () => {} }), {
    async invalidate(tags, _generation, throttledTags = []) {
      recorded.push(...tags, ...throttledTags.map((tag) => `${tag} throttled`));
    },
    invalidateThrottled: ({ tag }) => void recorded.push(`${tag} throttled`),
    ensureInvalidated: async () => {},
  });
  const tokens = createPageTokens(Buffer.alloc(32), systemClock);
  const shared = { db, tokens, clock: systemClock, ids: createIds() };
  const inventory = createInventory(shared);
  const catalog = createCatalog({ ...shared, inventory });
  const customers = createCustomers(shared);
  const tracker = createTracker(shared);
  const orders = createOrders({
    ...placementOptions,
    ...shared,
    catalog,
    inventory,
    customers,
    tracker,
  });
  const call = internalCall();
  return {
    database,
    db,
    catalog,
    orders,
    call,
    /** Runs some work and returns the tags that it invalidated, sorted. */
    async tagsOf(work: () => Promise<unknown>): Promise<string[]> {
      recorded.length = 0;
      await work();
      return recorded.toSorted();
    },
    async makeCategory() {
      const category = { slug: `c-${randomUUID()}`, name: "Category", parentId: "" };
      return catalog.categories.create(call, { category, requestId: "", validateOnly: false });
    },
    async makeProduct(categoryId: string, stockQuantity: bigint) {
      const product = { ...newProduct(categoryId), stockQuantity };
      return catalog.products.create(call, { product, requestId: "", validateOnly: false });
    },
    async close() {
      await plain.close();
      await database.drop();
    },
  };
}

/** Returns the fields of a new product. */
export function newProduct(categoryId: string) {
  const price = { currencyCode: "EUR", minorUnits: 1_000n };
  const texts = { sku: `SKU-${randomUUID()}`, name: "Thing", description: "", brand: "", imageUri: "" };
  return { ...texts, categoryId, price, attributes: {}, taxClass: "", weightGrams: undefined };
}
