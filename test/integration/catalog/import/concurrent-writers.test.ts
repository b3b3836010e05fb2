import { randomUUID } from "node:crypto";
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
import { startShop, type TestShop } from "../../../support/shop.ts";
import { countDeadlocks, countLockWaits } from "../../../support/stores/database-activity.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
let slug: string;
beforeAll(async () => {
  shop = await startShop();
  slug = await createCategorySlug(shop);
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

const idOf = async (sku: string) =>
  (await shop.catalog.getProduct({ key: { case: "sku", value: sku } })).product?.id ?? "";

/** Returns the movements of a product, oldest first. */
const ledger = async (sku: string) => {
  const rows = await shop.database.query<{ delta: string; reason: string }>(
    `select on_hand_delta as delta, reason from stock_movement join product on product.id = product_id where sku = $1 order by stock_movement.id`,
    [sku],
  );
  return rows.map(({ delta, reason }) => `${reason} ${delta}`);
};

test("the ledger records the stock of a new product and each count that changes it, but no count that confirms it", async () => {
  await importRows(shop, [createRow(slug, "counted", { stockQuantity: 5n }), createRow(slug, "none")]);
  for (const stockQuantity of [8n, 8n, undefined, 0n]) {
    await importRows(shop, [createRow(slug, "counted", { stockQuantity })]);
  }
  await importRows(shop, [createRow(slug, "none", { stockQuantity: 4n })]);
  expect(await ledger("counted")).toEqual(["INITIAL 5", "RECOUNT 3", "RECOUNT -8"]);
  expect(await ledger("none")).toEqual(["RECOUNT 4"]);
});

test("a row whose count is older than the latest recount is rejected", async () => {
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

test("orders and imports of the same products run concurrently without deadlocks, and orders fail only when stock runs out", async () => {
  const rows = createRows(slug, "busy-", 1_500, { stockQuantity: 20n });
  await importRows(shop, rows);
  const ids = await Promise.all(Array.from({ length: 40 }, (_, index) => idOf(`busy-${index * 37 + 1}`)));
  let importing = true;
  const outcomes = new Map<string, number>();
  const buyRepeatedly = async (seed: number) => {
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
  const buyers = Array.from({ length: 6 }, (_, seed) => buyRepeatedly(seed));
  for (let price = 1n; price <= 6n || (outcomes.get("sold") ?? 0) <= 20; price += 1n) {
    const stockQuantity = price % 2n === 0n ? 20n : undefined;
    const changedRows = rows.map((row) => ({
      ...row,
      price: { currencyCode: "EUR", minorUnits: price },
      stockQuantity,
    }));
    const sorted = price % 3n === 0n ? changedRows.toReversed() : changedRows;
    expect(await importRows(shop, sorted)).toMatchObject({ rowCount: 1_500n, updatedCount: 1_500n });
  }
  importing = false;
  await Promise.all(buyers);
  expect([...outcomes.keys()].filter((outcome) => outcome !== "FailedPrecondition OUT_OF_STOCK")).toEqual([
    "sold",
  ]);
  expect(await countDeadlocks(shop.database)).toBe(0);
}, 120_000);

test("a product that another transaction creates while its row is written is updated by the row", async () => {
  // The words of both are indexed before, so that the import waits for the product and not for a word.
  await importRows(shop, [createRow(slug, "indexed", { name: "Other Product concurrent" })]);
  await shop.database.query("begin");
  await shop.database.query(
    `with added as (
       insert into product (id, sku, name, description, category_id, brand, currency, price_minor,
         image_uri, attributes, version, created_at, updated_at)
       select gen_random_uuid(), 'concurrent', 'Other', '', id, '', 'EUR', 1, '', '{}', 1, now(), now()
       from category where slug = $1 returning id
     )
     insert into inventory (product_id, on_hand) select id, 0 from added`,
    [slug],
  );
  const importing = importRows(shop, [createRow(slug, "concurrent", { stockQuantity: 4n })]);
  await expect.poll(() => countLockWaits(shop.database, "insert into product")).toBe(1);
  await shop.database.query("commit");
  expect(await importing).toMatchObject({ createdCount: 0n, updatedCount: 1n, failedCount: 0n });
  const { product } = await shop.catalog.getProduct({ key: { case: "sku", value: "concurrent" } });
  expect(product).toMatchObject({ name: "Product concurrent", stockQuantity: 4n });
});

test("a row is compared with what the import before it, whose lock it waited for, has written", async () => {
  const row = createRow(slug, "compared", { stockQuantity: 1n });
  await importRows(shop, [row]);
  const id = await idOf("compared");
  await shop.database.query("begin");
  await shop.database.query("select from inventory where product_id = $1 for no key update", [id]);
  const importing = importRows(shop, [row]);
  await expect.poll(() => countLockWaits(shop.database, "from inventory")).toBe(1);
  await shop.database.query("update product set name = 'Earlier' where id = $1", [id]);
  await shop.database.query("commit");
  expect(await importing).toMatchObject({ updatedCount: 1n, unchangedCount: 0n });
  const { product } = await shop.catalog.getProduct({ key: { case: "id", value: id } });
  expect(product?.name).toBe("Product compared");
});

test("concurrent imports and calls that create the same products all succeed, or report that the sku is taken", async () => {
  const skus = Array.from({ length: 60 }, (_, index) => `shared-${index}`);
  const { category } = await shop.catalog.getCategory({ key: { case: "slug", value: slug } });
  const create = async (sku: string) => {
    const price = { currencyCode: "EUR", minorUnits: 5n };
    const product = {
      sku,
      name: `Created ${sku}`,
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
  const [inOrder, reversed, ...created] = await Promise.all([
    importRows(shop, rows),
    importRows(shop, rows.toReversed()),
    ...skus.map(create),
  ]);
  expect([inOrder.failedCount, reversed.failedCount]).toEqual([0n, 0n]);
  expect(new Set(created).difference(new Set(["", "SKU_TAKEN"]))).toEqual(new Set());
  const found = await shop.database.query(
    "select from product join inventory on product_id = id where sku like 'shared-%' and on_hand = 1",
  );
  expect(found).toHaveLength(60);
});
