import { afterEach, expect, test } from "vitest";
import { seedId } from "../../../../src/cli/seed/generate/seed-id.ts";
import { isEmptyShop } from "../../../../src/cli/seed/is-empty-shop.ts";
import { type SeedProgress, seedShop } from "../../../../src/cli/seed/seed-shop.ts";
import { countRows, digestTables, findViolations } from "../../../support/seed/database-state.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";
import { findViolations as findFailedChecks } from "../../../support/stores/invariants.ts";

// Two blocks of products and of customers, the second ones incomplete.
const size = { products: 1_300, customers: 300 };
const now = new Date("2026-06-15T10:20:30Z");
const later = new Date("2026-08-01T00:00:00Z");
const NOTHING_ADDED = { products: 0, customers: 0, orders: 0, purchases: 0 };

const databases: TestDatabase[] = [];
async function openDatabase(): Promise<TestDatabase> {
  const database = await createTestDatabase();
  databases.push(database);
  return database;
}
afterEach(async () => {
  await Promise.all(databases.splice(0).map((database) => database.drop()));
});

/** Returns the products without the columns that sales change. */
const productsOf = (database: TestDatabase) =>
  database.query(
    `select product.id, sku, name, description, category_id, brand, price_minor, image_uri, attributes,
       product.created_at, on_hand_delta as initial_stock
     from product left join stock_movement on product_id = product.id and reason = 'INITIAL' order by id`,
  );

test("two databases seeded with the same size hold the same rows, and a repeated run adds nothing", async () => {
  const [one, other] = [await openDatabase(), await openDatabase()];
  const seeded = await seedShop({ url: one.url, ...size, now });
  expect(seeded).toMatchObject(size);
  await seedShop({ url: other.url, ...size, now });
  const rows = await digestTables(one);
  expect(await digestTables(other)).toEqual(rows);
  expect(await seedShop({ url: one.url, ...size, now: later })).toMatchObject(NOTHING_ADDED);
  expect(await digestTables(one)).toEqual(rows);
});

test("a seeded shop has rows of every kind and violates no invariant", async () => {
  const database = await openDatabase();
  const seen: SeedProgress[] = [];
  const seeded = await seedShop({
    url: database.url,
    ...size,
    onProgress: (progress) => seen.push(progress),
  });
  const tables = ["category", "promotion", "product", "customer", "orders", "purchase"];
  const { products, customers, orders } = seeded;
  expect(await countRows(database, tables)).toEqual([15, 3, products, customers, orders, seeded.purchases]);
  expect(await findViolations(database)).toEqual([]);
  expect(await findFailedChecks(database.url)).toEqual([]);
  expect(seen.at(-1)).toEqual({ step: "customers", done: 300, total: 300 });
  expect(seen.filter(({ step }) => step === "products").map(({ done }) => done)).toContain(1_300);
  // Without such rows the invariants above would hold trivially.
  const kinds = [
    "inventory where on_hand = reserved",
    "inventory where on_hand - reserved between 1 and 9",
    "orders where state = 'PENDING' and expires_at is null",
    "orders where state = 'CANCELLED' and payment_state = 'UNPAID' and promotion_id is not null",
    "orders where state = 'CANCELLED' and payment_state = 'PAID' and promotion_id is not null",
    "orders where state = 'EXPIRED' and expires_at < updated_at",
    "orders where state = 'CONFIRMED' and fulfillment_state = 'UNFULFILLED'",
    "orders where state = 'CONFIRMED' and fulfillment_state = 'PARTIALLY_FULFILLED'",
    "orders where state = 'CONFIRMED' and fulfillment_state = 'FULFILLED'",
    "(select order_id from fulfillment group by order_id having count(*) = 2) as shipped_in_two_parts",
    "order_item where returned_quantity = 1",
    "purchase where kind = 'REVERSAL' and counts",
    "purchase where kind = 'REVERSAL' and not counts",
    "purchase where order_id is null",
  ];
  const present = await countRows(database, kinds);
  expect(kinds.filter((_, index) => present[index] === 0)).toEqual([]);
  const counted = await countRows(database, [
    "(select distinct brand from product) as brands",
    "(select distinct category_id from product) as categories",
    "category where parent_id is null",
    "pg_stats where tablename = 'product' and attname = 'brand'",
  ]);
  expect(counted).toEqual([20, 15, 4, 1]);
  const [completed = 0] = await countRows(database, ["orders where state = 'COMPLETED'"]);
  expect(completed / orders).toBeGreaterThan(0.7);
});

test("product n does not depend on the number of products, and a larger run adds only the missing ones", async () => {
  const [grown, whole] = [await openDatabase(), await openDatabase()];
  expect(await seedShop({ url: grown.url, products: 700, customers: 120, now })).toMatchObject({
    products: 700,
  });
  const added = await seedShop({ url: grown.url, products: 2_400, customers: 300, now: later });
  expect(added).toMatchObject({ products: 1_700, customers: 180 });
  await seedShop({ url: whole.url, products: 2_400, customers: 1, now });
  expect(await productsOf(grown)).toEqual(await productsOf(whole));
  expect(await findViolations(grown)).toEqual([]);
  // The documentation shows these.
  const [first] = await whole.query("select sku, name from product where id = $1", [seedId("product", 1)]);
  expect(seedId("product", 1)).toBe("01941f29-7c00-7003-8000-000000000001");
  expect(first).toEqual({ sku: "SKU-000001", name: "Lumaro Classic Bluetooth Speaker C74" });
});

test("a failed run leaves no partial rows, and the next run completes the shop", async () => {
  const [broken, whole] = [await openDatabase(), await openDatabase()];
  await seedShop({ url: whole.url, ...size, now });
  await broken.query(`create function fail() returns trigger language plpgsql as $$
    begin raise 'failed by the test'; end $$`);
  const failOn = (table: string, when: string) =>
    broken.query(`create trigger failure before insert on ${table} for each row when (${when})
      execute function fail()`);
  for (const [table, when] of [
    ["product", "new.sku = 'SKU-001250'"],
    ["stock_movement", `new.reason = 'INITIAL' and new.product_id = '${seedId("product", 1_251)}'`],
    ["purchase", `new.user_id > '${seedId("customer", 250)}'`],
  ] as const) {
    await failOn(table, when);
    await expect(seedShop({ url: broken.url, ...size, now })).rejects.toThrow("failed by the test");
    await broken.query(`drop trigger failure on ${table}`);
    expect(await findViolations(broken)).toEqual([]);
  }
  expect(await countRows(broken, ["product", "customer"])).toEqual([1_300, 250]);
  expect(await seedShop({ url: broken.url, ...size, now: later })).toMatchObject({
    products: 0,
    customers: 50,
  });
  expect(await digestTables(broken)).toEqual(await digestTables(whole));
});

test("two concurrent runs add each row once", async () => {
  const [shared, whole] = [await openDatabase(), await openDatabase()];
  await seedShop({ url: whole.url, ...size, now });
  const both = await Promise.all([1, 2].map(() => seedShop({ url: shared.url, ...size, now })));
  for (const kind of ["products", "customers"] as const) {
    expect(both.reduce((sum, seeded) => sum + seeded[kind], 0)).toBe(size[kind]);
  }
  expect(await digestTables(shared)).toEqual(await digestTables(whole));
});

test("a shop is empty until it has a customer, an order or a category of its own; rows of an interrupted run do not count", async () => {
  const database = await openDatabase();
  expect(await isEmptyShop(database.url)).toBe(true);
  await seedShop({ url: database.url, products: 10, customers: 0 });
  expect(await countRows(database, ["product", "orders"])).toEqual([10, 0]);
  expect(await isEmptyShop(database.url)).toBe(true);
  await database.query(`insert into customer (id, email, name, created_at, updated_at)
    values (gen_random_uuid(), 'ada@example.com', 'Ada', now(), now())`);
  expect(await isEmptyShop(database.url)).toBe(false);
  await database.query("delete from customer");
  await database.query(`insert into category (id, slug, name, created_at, updated_at)
    values (gen_random_uuid(), 'own', 'Own', now(), now())`);
  expect(await isEmptyShop(database.url)).toBe(false);
  await database.query("delete from category where slug = 'own'");
  expect(await isEmptyShop(database.url)).toBe(true);
  await seedShop({ url: database.url, products: 10, customers: 1 });
  expect(await isEmptyShop(database.url)).toBe(false);
});
