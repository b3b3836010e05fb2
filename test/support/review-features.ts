import { randomUUID } from "node:crypto";
import { createCatalog } from "../../src/catalog/catalog.ts";
import { createCustomers } from "../../src/customer/customer.ts";
import { entities } from "../../src/entities.ts";
import { openPostgres } from "../../src/infra/postgres/postgres.ts";
import { createInventory } from "../../src/inventory/inventory.ts";
import { type Call, internalCall } from "../../src/kernel/call.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { createIds } from "../../src/kernel/ids.ts";
import type { Log } from "../../src/kernel/log.ts";
import { createPageTokens } from "../../src/kernel/page.ts";
import type { Principal, Role } from "../../src/kernel/principal.ts";
import { createOrders } from "../../src/order/order.ts";
import { createReviews } from "../../src/review/review.ts";
import { createTracker } from "../../src/tracker/tracker.ts";
import { createTestDatabase } from "./database.ts";
import { silentLog } from "./log.ts";
import { noting, type Sent } from "./query-plans/plan.ts";

/** The rooms that reviews need, on a database of their own, without anything before them. */
export async function openRooms(log: Log = silentLog) {
  const database = await createTestDatabase();
  const limits = { poolMax: 12, poolWaitMs: 10_000, statementTimeoutMs: 10_000 };
  const sent: Sent[] = [];
  const db = noting(await openPostgres({ url: database.url, entities, log, ...limits }), sent);
  const tokens = createPageTokens(Buffer.alloc(32), systemClock);
  const room = { db, tokens, clock: systemClock, ids: createIds() };
  const inventory = createInventory(room);
  const catalog = createCatalog({ ...room, inventory });
  const customers = createCustomers(room);
  const tracker = createTracker(room);
  const orders = createOrders({ ...room, catalog, inventory, customers, tracker });
  const reviews = createReviews({ ...room, catalog, orders, readCustomerName: customers.readName });
  const how = () => ({ requestId: randomUUID(), validateOnly: false });
  const call = internalCall();
  const slug = randomUUID();
  const category = await catalog.categories.create(call, {
    category: { slug, name: slug, parentId: "" },
    ...how(),
  });

  return {
    ...{ database, catalog, orders, reviews, call, sent },
    /** A product with many units. */
    async product(): Promise<string> {
      const sku = randomUUID().toUpperCase();
      const price = { currencyCode: "EUR", minorUnits: 1_000n };
      const { id } = await catalog.products.create(call, {
        product: {
          ...{ sku, name: "Chair", description: "", brand: "", imageUri: "", attributes: {} },
          ...{ categoryId: category.id, price, stockQuantity: 1_000n },
        },
        ...how(),
      });
      return id;
    },
    /** A customer's call, as it comes after they have signed in. */
    async customer(name = "Ann Example"): Promise<Call & { customerId: string }> {
      const customer = { email: `${randomUUID()}@example.com`, name };
      const { id } = await customers.create(call, { customer, ...how() });
      return { ...as({ customerId: id }), customerId: id };
    },
    /** @returns the order's id */
    async buy(customerId: string, productId: string): Promise<string> {
      const order = { customerId, promotionId: "", items: [{ productId, quantity: 1n }] };
      return (await orders.create(call, { order, ...how() })).order.id;
    },
    review: (
      by: Call,
      productId: string,
      rating = 4,
      more: { title?: string; validateOnly?: boolean } = {},
    ) =>
      reviews.create(by, {
        review: { productId, rating, title: more.title ?? "", body: "" },
        ...{ requestId: "", validateOnly: more.validateOnly ?? false },
      }),
    /** What the product shows. */
    async ratingOf(productId: string): Promise<{ average?: number; count?: bigint }> {
      const key = { column: "id", value: productId } as const;
      const product = await catalog.products.get(call, key, { showDeleted: true, readMask: [] });
      return { average: product.ratingAverage, count: product.ratingCount };
    },
    async close(): Promise<void> {
      await db.close();
      await database.drop();
    },
  };
}

/** A call of somebody with an account. */
export function as({ customerId, role = "CUSTOMER" }: { customerId: string; role?: Role }): Call {
  const ids = { accountId: randomUUID(), sessionId: randomUUID() };
  return by({ kind: "account", customerId, role, ...ids });
}

/** A call on somebody's behalf. */
export const by = (principal: Principal): Call => ({ ...internalCall(), principal });
