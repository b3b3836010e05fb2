import { describe, expect, test } from "vitest";
import { ImportMode } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import {
  createHeader,
  createRow,
  createRows,
  importRows,
  toMessages,
} from "../../../support/import/import-rows.ts";
import { startShopForEachTest } from "../../../support/import/shop-for-each-test.ts";
import type { TestShop } from "../../../support/shop.ts";
import { countLockWaits, lockProduct } from "../../../support/stores/database-activity.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
let slug: string;
startShopForEachTest((started, categorySlug) => {
  shop = started;
  slug = categorySlug;
});

/** Returns the numbers of active and of deleted products. */
async function countProducts() {
  const [counts] = await shop.database.query<{ active: number; deleted: number }>(
    "select count(*) filter (where active)::int as active, count(*) filter (where not active)::int as deleted from product",
  );
  return counts;
}

describe("without max_deletes, a full import deletes at most 5 percent of the products", () => {
  test("half a file deletes nothing, and its rows are imported", async () => {
    await importRows(shop, createRows(slug, "p-", 100));
    const half = createRows(slug, "p-", 51).with(0, createRow(slug, "p-1", { name: "Renamed" }));
    const failure = await failureOf(importRows(shop, half, createHeader(ImportMode.FULL)));
    expect(failure).toMatchObject({
      code: "FailedPrecondition",
      reason: "IMPORT_TOO_MANY_DELETES",
      preconditions: ["DELETES"],
      metadata: {
        delete_count: "49",
        product_count: "100",
        max_deletes: "5",
        row_count: "51",
        created_count: "0",
        updated_count: "1",
        unchanged_count: "50",
        deleted_count: "0",
        failed_count: "0",
      },
    });
    expect(failure.message).toMatch(/^49 of 100 products would be deleted; at most 5 may be\. Nothing was/);
    expect(failure.message).toContain("max_deletes 49");
    expect(await countProducts()).toEqual({ active: 100, deleted: 0 });
    const { product } = await shop.catalog.getProduct({ key: { case: "sku", value: "p-1" } });
    expect(product).toMatchObject({ name: "Renamed" });
  });

  test.each([
    [100, 5],
    [101, 6],
    [20, 1],
    [3, 1],
  ])("of %i products %i may be deleted, and not one more", async (count, limit) => {
    await importRows(shop, createRows(slug, "p-", count));
    const kept = createRows(slug, "p-", count - limit);
    const tooFew = importRows(shop, kept.slice(1), createHeader(ImportMode.FULL));
    expect(await failureOf(tooFew)).toMatchObject({
      metadata: { delete_count: String(limit + 1), max_deletes: String(limit) },
    });
    expect(await countProducts()).toEqual({ active: count, deleted: 0 });
    const report = await importRows(shop, kept, createHeader(ImportMode.FULL));
    expect(report).toMatchObject({ deletedCount: BigInt(limit) });
  });

  test("a file of another shop does not raise the limit by the products that it creates", async () => {
    await importRows(shop, createRows(slug, "p-", 40));
    const failure = failureOf(importRows(shop, createRows(slug, "q-", 1_000), createHeader(ImportMode.FULL)));
    expect(await failure).toMatchObject({
      metadata: { delete_count: "40", product_count: "40", max_deletes: "2", created_count: "1000" },
    });
    expect(await countProducts()).toEqual({ active: 1_040, deleted: 0 });
  });
});

describe("with max_deletes", () => {
  test("an import that was rejected is repeated with a greater limit, and deletes then", async () => {
    await importRows(shop, createRows(slug, "p-", 100));
    const rows = createRows(slug, "p-", 51);
    const header = createHeader(ImportMode.FULL, { maxDeletes: 48n });
    expect(await failureOf(importRows(shop, rows, header))).toMatchObject({
      reason: "IMPORT_TOO_MANY_DELETES",
      metadata: { max_deletes: "48", delete_count: "49" },
    });
    const allowed = { ...header, maxDeletes: 49n };
    const again = shop.catalog.importProducts(toMessages(allowed, [], { offset: 51 }));
    expect(await again).toMatchObject({ rowCount: 51n, unchangedCount: 51n, deletedCount: 49n });
    expect(await countProducts()).toEqual({ active: 51, deleted: 49 });
    expect(await importRows(shop, rows, header)).toMatchObject({ replayed: true, deletedCount: 49n });
    expect(await findViolations(shop.database.url)).toEqual([]);
  });

  test("0 forbids to delete any product", async () => {
    await importRows(shop, createRows(slug, "p-", 3));
    const header = createHeader(ImportMode.FULL, { maxDeletes: 0n });
    expect(await failureOf(importRows(shop, createRows(slug, "p-", 2), header))).toMatchObject({
      metadata: { max_deletes: "0", delete_count: "1" },
    });
    const all = createHeader(ImportMode.FULL, { maxDeletes: 0n });
    expect(await importRows(shop, createRows(slug, "p-", 3), all)).toMatchObject({ deletedCount: 0n });
  });

  test("messages of one stream with different limits are rejected", async () => {
    const header = createHeader(ImportMode.FULL, { maxDeletes: 1n });
    async function* messages() {
      yield* toMessages(header, createRows(slug, "p-", 1));
      yield* toMessages({ ...header, maxDeletes: 2n }, createRows(slug, "q-", 1), { offset: 1 });
    }
    expect(await failureOf(shop.catalog.importProducts(messages()))).toMatchObject({
      code: "InvalidArgument",
      fields: ["max_deletes"],
    });
  });

  test("products that others undelete while an import deletes are not deleted beyond the limit", async () => {
    await importRows(shop, createRows(slug, "old-", 3_000));
    const ids = await shop.database.query<{ id: string; sku: string }>(
      "select id, sku from product order by id",
    );
    const [second, last] = [ids[1_500], ids[2_999]];
    await shop.catalog.deleteProduct({ id: last?.id ?? "" });
    const release = await lockProduct(shop.database, second?.sku ?? "");
    const header = createHeader(ImportMode.FULL, { maxDeletes: 2_999n });
    const importing = failureOf(importRows(shop, createRows(slug, "new-", 1), header));
    await expect.poll(() => countLockWaits(shop.database)).toBe(1);
    await shop.catalog.undeleteProduct({ id: last?.id ?? "" });
    await release();
    expect(await importing).toMatchObject({
      reason: "IMPORT_TOO_MANY_DELETES",
      metadata: { delete_count: "3000", max_deletes: "2999", deleted_count: "2000" },
      message: expect.stringContaining("2000 of them were deleted"),
    });
    expect(await countProducts()).toEqual({ active: 1_001, deleted: 2_000 });
    const more = { ...header, maxDeletes: 3_000n };
    expect(await importRows(shop, createRows(slug, "new-", 1), more)).toMatchObject({ deletedCount: 3_000n });
    expect(await findViolations(shop.database.url)).toEqual([]);
  });
});

test("a full import with a row without a valid sku deletes nothing, and names the row", async () => {
  await importRows(shop, createRows(slug, "p-", 40));
  const rows = createRows(slug, "p-", 39).with(6, createRow(slug, "p 7"));
  const header = createHeader(ImportMode.FULL, { maxDeletes: 40n });
  expect(await failureOf(importRows(shop, rows, header))).toMatchObject({
    code: "FailedPrecondition",
    reason: "IMPORT_SKU_INVALID",
    preconditions: ["SKU"],
    metadata: {
      row_count: "39",
      unchanged_count: "38",
      failed_count: "1",
      deleted_count: "0",
      row_numbers: "7",
    },
  });
  expect(await countProducts()).toEqual({ active: 40, deleted: 0 });
  const incremental = await importRows(shop, rows, createHeader());
  expect(incremental).toMatchObject({ failedCount: 1n, deletedCount: 0n });
});

test("a row without a valid sku among more errors than are stored still prevents the deletion", async () => {
  await importRows(shop, createRows(slug, "p-", 40));
  const rows = [
    ...createRows(slug, "p-", 39),
    ...createRows("no-such-category", "bad-", 2_000),
    createRow(slug, "p 7"),
  ];
  const failure = failureOf(importRows(shop, rows, createHeader(ImportMode.FULL)));
  expect(await failure).toMatchObject({
    reason: "IMPORT_SKU_INVALID",
    preconditions: [],
    metadata: { failed_count: "2001", row_numbers: "" },
  });
  expect(await countProducts()).toEqual({ active: 40, deleted: 0 });
});
