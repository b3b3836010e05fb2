import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { StockReason } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { failureOf } from "../../support/errors.ts";
import { createCategorySlug, createRow, importRows } from "../../support/import/import-rows.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";

/** Maximum number of units of a product on hand, in all contracts. */
const MAX = 2_000_000_000n;
const { RECOUNT, RECEIVED, DAMAGED } = StockReason;

let shop: TestShop;
let slug: string;
beforeAll(async () => {
  shop = await startShop();
  slug = await createCategorySlug(shop);
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

const adjust = (productId: string, delta: bigint, reason: StockReason = RECEIVED) =>
  shop.catalog.adjustStock({ productId, delta, reason });

async function adjustInBatch(productId: string, ...deltas: bigint[]): Promise<(string | bigint)[]> {
  const adjustments = deltas.map((delta) => ({ productId, delta, reason: RECEIVED }));
  const { results } = await shop.catalog.batchAdjustStock({ adjustments, requestId: randomUUID() });
  return results.map(({ result }) =>
    result.case === "stock" ? result.value.onHandQuantity : (result.value?.reason ?? ""),
  );
}

async function importStock(sku: string, stockQuantity: bigint) {
  const { errors } = await importRows(shop, [createRow(slug, sku, { stockQuantity })]);
  return errors.map(({ field }) => field);
}

async function orderUnits(productId: string, quantity: bigint): Promise<void> {
  await shop.orders.createOrder({ requestId: randomUUID(), order: { items: [{ productId, quantity }] } });
}

test("CreateProduct accepts the maximum and not one unit more", async () => {
  expect(await stockOf(shop, await makeProduct(shop, { stock: MAX }))).toBe(MAX);
  const failure = await failureOf(makeProduct(shop, { stock: MAX + 1n }));
  expect(failure).toMatchObject({ code: "InvalidArgument", fields: ["product.stock_quantity"] });
});

test("AdjustStock raises the stock to the maximum and not above it", async () => {
  const id = await makeProduct(shop, { stock: MAX - 1n });
  expect((await adjust(id, 1n)).onHandQuantity).toBe(MAX);
  expect(await failureOf(adjust(id, 1n))).toMatchObject({
    code: "FailedPrecondition",
    reason: "STOCK_TOO_LARGE",
  });
  expect((await adjust(id, -MAX, DAMAGED)).onHandQuantity).toBe(0n);
  expect((await adjust(id, MAX)).onHandQuantity).toBe(MAX);
  const count = (onHandQuantity: bigint) =>
    shop.catalog.adjustStock({ productId: id, onHandQuantity, reason: RECOUNT });
  expect((await count(MAX)).onHandQuantity).toBe(MAX);
  expect(await failureOf(count(MAX + 1n))).toMatchObject({ code: "InvalidArgument" });
});

test("reserved units count towards the maximum, in AdjustStock, BatchAdjustStock and imports", async () => {
  const sku = `bound-${randomUUID()}`;
  await importStock(sku, MAX);
  const { product } = await shop.catalog.getProduct({ key: { case: "sku", value: sku } });
  const id = product?.id ?? "";
  await orderUnits(id, 3n);
  expect(await failureOf(adjust(id, 1n))).toMatchObject({ reason: "STOCK_TOO_LARGE" });
  expect(await adjustInBatch(id, 1n)).toEqual(["STOCK_TOO_LARGE"]);
  expect(await importStock(sku, MAX - 2n)).toEqual(["stock_quantity"]);
  expect(await importStock(sku, MAX - 3n)).toEqual([]);
  expect(await importStock(sku, MAX - 4n)).toEqual([]);
  expect(await importStock(sku, MAX - 3n)).toEqual([]);
  expect(await stockOf(shop, id)).toBe(MAX - 3n);
});

test("BatchAdjustStock applies the bound after each line", async () => {
  const id = await makeProduct(shop, { stock: 0n });
  expect(await adjustInBatch(id, MAX, 1n, -2n, 3n, 2n)).toEqual([
    MAX,
    "STOCK_TOO_LARGE",
    MAX - 2n,
    "STOCK_TOO_LARGE",
    MAX,
  ]);
});

test("an import accepts the maximum for a new product and not one unit more", async () => {
  const [first, second] = [`bound-${randomUUID()}`, `bound-${randomUUID()}`];
  expect(await importStock(first, MAX)).toEqual([]);
  expect(await importStock(second, MAX + 1n)).toEqual(["stock_quantity"]);
});

test("stock above the maximum, recorded before the bound existed, can be lowered and counted but not raised", async () => {
  const id = await makeProduct(shop, { stock: 10n });
  await shop.database.query("update inventory set on_hand = $2 where product_id = $1", [id, MAX + 10n]);
  await shop.database.query("update stock_movement set on_hand_delta = $2 where product_id = $1", [
    id,
    MAX + 10n,
  ]);
  expect(await failureOf(adjust(id, 1n))).toMatchObject({ reason: "STOCK_TOO_LARGE" });
  expect((await adjust(id, -1n, DAMAGED)).onHandQuantity).toBe(MAX + 9n);
  expect(await adjustInBatch(id, -1n, 1n)).toEqual([MAX + 8n, "STOCK_TOO_LARGE"]);
});
