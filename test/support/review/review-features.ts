import { randomUUID } from "node:crypto";
import { createCatalog } from "../../../src/catalog/catalog.ts";
import { createCustomers } from "../../../src/customer/customer.ts";
import { entities } from "../../../src/entities.ts";
import { withOutbox } from "../../../src/infra/outbox/outbox.ts";
import { openPostgres } from "../../../src/infra/postgres/postgres.ts";
import type { CompiledStatement } from "../../../src/infra/postgres/statement.ts";
import { createInventory } from "../../../src/inventory/inventory.ts";
import { type Call, internalCall } from "../../../src/kernel/call.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import type { Log } from "../../../src/kernel/log.ts";
import { createPageTokens } from "../../../src/kernel/page.ts";
import type { Principal, Role } from "../../../src/kernel/principal.ts";
import { createOrders } from "../../../src/order/order.ts";
import { createReviews } from "../../../src/review/review.ts";
import { createTracker } from "../../../src/tracker/tracker.ts";
import { silentLog } from "../log.ts";
import { placementOptions } from "../orders/placement-options.ts";
import { recordStatements } from "../query-plans/query-plan.ts";
import { createTestDatabase } from "../stores/database.ts";

/** Opens reviews and the features that they need on a database of their own, without a server. */
export async function openReviewFeatures(log: Log = silentLog) {
  const database = await createTestDatabase();
  const limits = { poolMax: 12, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  const statements: CompiledStatement[] = [];
  const plain = await openPostgres({ url: database.url, entities, log, ...limits });
  // The outbox stores the sales of orders, of which the checks of the data count those that are not consumed yet.
  const db = recordStatements(withOutbox(plain, { notify: () => {} }), statements);
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
  const reviews = createReviews({ ...shared, catalog, orders, readCustomerName: customers.readName });
  const mutation = () => ({ requestId: randomUUID(), validateOnly: false });
  const call = internalCall();
  const slug = randomUUID();
  const category = await catalog.categories.create(call, {
    category: { slug, name: slug, parentId: "" },
    ...mutation(),
  });

  return {
    database,
    catalog,
    orders,
    reviews,
    call,
    statements,
    /** Creates a product with 1,000 units and returns its id. */
    async product(): Promise<string> {
      const sku = randomUUID().toUpperCase();
      const price = { currencyCode: "EUR", minorUnits: 1_000n };
      const { id } = await catalog.products.create(call, {
        product: {
          sku,
          name: "Chair",
          description: "",
          brand: "",
          imageUri: "",
          attributes: {},
          taxClass: "",
          weightGrams: undefined,
          categoryId: category.id,
          price,
          stockQuantity: 1_000n,
        },
        ...mutation(),
      });
      return id;
    },
    /** Creates a customer and returns its call after signing in. */
    async customer(name = "Ann Example"): Promise<Call & { customerId: string }> {
      const customer = { email: `${randomUUID()}@example.com`, name };
      const { id } = await customers.create(call, { customer, ...mutation() });
      return { ...callAs({ customerId: id }), customerId: id };
    },
    /** Places a paid order of one unit of a product and returns its id. */
    async buy(customerId: string, productId: string): Promise<string> {
      const order = { customerId, promotionId: "", items: [{ productId, quantity: 1n }] };
      const { id, amountDue: amount } = (await orders.create(call, { order, ...mutation() })).order;
      await orders.markPaid(call, { id, etag: "", amount, method: "CASH", reference: "" }, randomUUID());
      return id;
    },
    /** Creates a review. */
    review: (
      author: Call,
      productId: string,
      rating = 4,
      more: { title?: string; validateOnly?: boolean } = {},
    ) =>
      reviews.create(author, {
        review: { productId, rating, title: more.title ?? "", body: "" },
        requestId: "",
        validateOnly: more.validateOnly ?? false,
      }),
    /** Returns the rating of a product. */
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

/** Returns a call of an account. */
export function callAs({ customerId, role = "CUSTOMER" }: { customerId: string; role?: Role }): Call {
  const ids = { accountId: randomUUID(), sessionId: randomUUID() };
  return callBy({ kind: "account", customerId, role, ...ids });
}

/** Returns a call of a principal. */
export const callBy = (principal: Principal): Call => ({ ...internalCall(), principal });
