import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { StockReason } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import {
  createCategorySlug,
  createRow,
  createRows,
  importRows,
} from "../../../support/import/import-rows.ts";
import { breaches } from "../../../support/invariants.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
let slug: string;
beforeAll(async () => {
  shop = await startShop({ DB_POOL_WAIT_MS: "10000" });
  slug = await createCategorySlug(shop);
});
afterEach(async () => expect(await breaches(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

const idOf = async (sku: string) =>
  (await shop.catalog.getProduct({ key: { case: "sku", value: sku } })).product?.id ?? "";

const ledger = async (sku: string) => {
  const rows = await shop.database.query<{ delta: string; reason: string }>(
    `select delta, reason from stock_movement join product on product.id = product_id where sku = $1 order by stock_movement.id`,
    [sku],
  );
  return rows.map(({ delta, reason }) => `${reason} ${delta}`);
};

test("stock goes by the ledger: what is new, what a count changes, and not what it confirms", async () => {
  await importRows(shop, [createRow(slug, "counted", { stockQuantity: 5n }), createRow(slug, "none")]);
  for (const stockQuantity of [8n, 8n, undefined, 0n]) {
    await importRows(shop, [createRow(slug, "counted", { stockQuantity })]);
  }
  await importRows(shop, [createRow(slug, "none", { stockQuantity: 4n })]);
  expect(await ledger("counted")).toEqual(["INITIAL 5", "RECOUNT 3", "RECOUNT -8"]);
  expect(await ledger("none")).toEqual(["RECOUNT 4"]);
});

test("a count that is older than the newest one is refused, for its row", async () => {
  await importRows(shop, [createRow(slug, "late", { stockQuantity: 5n })]);
  const ahead = timestampFromDate(new Date(Date.now() + 30_000));
  const recount = { delta: 1n, reason: StockReason.RECOUNT, effectiveTime: ahead };
  await shop.catalog.adjustStock({ productId: await idOf("late"), ...recount });
  const report = await importRows(shop, [createRow(slug, "late", { stockQuantity: 9n, name: "Late" })]);
  expect(report).toMatchObject({ updatedCount: 0n, failedCount: 1n });
  expect(report.errors).toMatchObject([{ rowNumber: 1n, sku: "late", field: "stock_quantity" }]);
  expect(await importRows(shop, [createRow(slug, "late", { name: "Late" })])).toMatchObject({
    updatedCount: 1n,
  });
  expect(await ledger("late")).toEqual(["INITIAL 5", "RECOUNT 1"]);
});

test("orders go on beside imports of the same products: no error but sold out, and nothing is oversold", async () => {
  const skus = createRows(slug, "busy-", 1_500, { stockQuantity: 20n });
  await importRows(shop, skus);
  const ids = await Promise.all(Array.from({ length: 40 }, (_, index) => idOf(`busy-${index * 37 + 1}`)));
  let importing = true;
  const outcomes = new Map<string, number>();
  const buyer = async (seed: number) => {
    for (let turn = 0; importing; turn += 1) {
      const [a, b] = [
        ids[(seed * 7 + turn * 11) % ids.length],
        ids[(seed * 13 + turn * 17 + 1) % ids.length],
      ];
      const items = [...new Set([a, b])].map((productId = "") => ({ productId, quantity: 3n }));
      const call = shop.orders.createOrder({ requestId: randomUUID(), order: { items } });
      const outcome = await call.then(
        () => "sold",
        () => failureOf(call).then(({ code, reason }) => `${code} ${reason}`),
      );
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  };
  const buyers = Array.from({ length: 6 }, (_, seed) => buyer(seed));
  for (let price = 1n; price <= 6n; price += 1n) {
    const stockQuantity = price % 2n === 0n ? 20n : undefined;
    const rows = skus.map((one) => ({
      ...one,
      price: { currencyCode: "EUR", minorUnits: price },
      stockQuantity,
    }));
    const backwards = price % 3n === 0n ? rows.toReversed() : rows;
    expect(await importRows(shop, backwards)).toMatchObject({ rowCount: 1_500n, updatedCount: 1_500n });
  }
  importing = false;
  await Promise.all(buyers);
  expect([...outcomes.keys()].filter((what) => what !== "FailedPrecondition OUT_OF_STOCK")).toEqual(["sold"]);
  expect(outcomes.get("sold")).toBeGreaterThan(20);
  expect(await deadlocks()).toBe(0);
}, 60_000);

/** The circles that PostgreSQL has had to break; a transaction that was run again shows nowhere else. */
async function deadlocks(): Promise<number> {
  // Connections tell what they have counted once a second.
  await sleep(1_100);
  const [found] = await shop.database.query<{ count: number }>(
    "select deadlocks::int as count from pg_stat_database where datname = current_database()",
  );
  return found?.count ?? -1;
}

test("a product that is created while its row is written is changed by it", async () => {
  await shop.database.query("begin");
  await shop.database.query(
    `insert into product (id, sku, name, description, category_id, brand, currency, price_minor, stock_quantity,
       image_uri, attributes, version, created_at, updated_at)
     select gen_random_uuid(), 'hasty', 'Other', '', id, '', 'EUR', 1, 0, '', '{}', 1, now(), now()
     from category where slug = $1`,
    [slug],
  );
  const importing = importRows(shop, [createRow(slug, "hasty", { stockQuantity: 4n })]);
  const waiting = () =>
    shop.database.query(
      "select from pg_locks where not granted and pid <> pg_backend_pid() and locktype = 'transactionid'",
    );
  await expect.poll(waiting).toHaveLength(1);
  await shop.database.query("commit");
  expect(await importing).toMatchObject({ createdCount: 0n, updatedCount: 1n, failedCount: 0n });
  const { product } = await shop.catalog.getProduct({ key: { case: "sku", value: "hasty" } });
  expect(product).toMatchObject({ name: "Product hasty", stockQuantity: 4n });
});

test("imports beside each other and beside others who create and change the same products all get through", async () => {
  const skus = Array.from({ length: 60 }, (_, index) => `shared-${index}`);
  const { category } = await shop.catalog.getCategory({ key: { case: "slug", value: slug } });
  const create = async (sku: string) => {
    const price = { currencyCode: "EUR", minorUnits: 5n };
    const product = {
      sku,
      name: `Made ${sku}`,
      categoryId: category?.id ?? "",
      brand: `Brand ${sku}`,
      price,
    };
    const call = shop.catalog.createProduct({ product });
    return call.then(
      () => "",
      () => failureOf(call).then(({ reason }) => reason),
    );
  };
  const rows = skus.map((sku) => createRow(slug, sku, { brand: `Brand ${sku}`, stockQuantity: 1n }));
  const [forth, back, ...made] = await Promise.all([
    importRows(shop, rows),
    importRows(shop, rows.toReversed()),
    ...skus.map(create),
  ]);
  expect([forth.failedCount, back.failedCount]).toEqual([0n, 0n]);
  expect(new Set(made).difference(new Set(["", "SKU_TAKEN"]))).toEqual(new Set());
  const found = await shop.database.query(
    "select from product where sku like 'shared-%' and stock_quantity = 1",
  );
  expect(found).toHaveLength(60);
});
