import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Product } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { TotalMode } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import {
  clientsOf,
  createProduct,
  defined,
  freshSku,
  missingId,
  productFields,
  protocols,
} from "../../../support/catalog/product-fixtures.ts";
import { type ListRequest, listAllProducts } from "../../../support/catalog/product-rows.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let tools: string;
let toys: string;
/** All products, sorted by id. */
let all: Product[];
beforeAll(async () => {
  shop = await startShop();
  tools = await makeCategory(shop);
  toys = await makeCategory(shop);
  all = [];
  for (let at = 0; at < 24; at += 1) {
    // Few names and prices, so that many products have equal ones.
    const product = await createProduct(shop, at % 3 === 0 ? toys : tools, {
      name: ["Axe", "axe", "Ärmel", "zebra"][at % 4] ?? "",
      brand: ["Acme", "Bolt", ""][at % 3] ?? "",
      price: { currencyCode: at % 8 === 7 ? "USD" : "EUR", minorUnits: BigInt(at % 5) * 100n },
      stockQuantity: BigInt(at % 2),
    });
    all.push(
      at % 6 === 5 ? defined((await shop.catalog.deleteProduct({ id: product.id })).product) : product,
    );
  }
  // Few creation times too.
  await shop.database.query(
    "update product set created_at = created_at - make_interval(secs => ('x' || right(id::text, 2))::bit(8)::int % 3)",
  );
  for (const product of all) {
    const { product: now } = await shop.catalog.getProduct({
      key: { case: "id", value: product.id },
      showDeleted: true,
    });
    product.createTime = defined(now?.createTime);
  }
});
afterAll(() => shop.close());

const eur = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });
const idsOf = (products: Product[]) => products.map(({ id }) => id);

/** Compares by code point, as PostgreSQL does in C.UTF-8. */
function byText(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

const byId = (one: Product, other: Product) => byText(one.id, other.id);

describe.each(protocols)("over %s", (protocol) => {
  const catalog = () => clientsOf(shop, protocol).catalog;

  const listAll = (request: ListRequest) =>
    listAllProducts(clientsOf(shop, protocol), { pageSize: 5, ...request });

  test.each<[string, ListRequest, (product: Product) => boolean]>([
    ["all products", {}, () => true],
    ["a category", { categoryId: "tools" }, (product) => product.categoryId === tools],
    ["a category, in capitals", { categoryId: "TOOLS" }, (product) => product.categoryId === tools],
    ["a brand", { brand: "Acme" }, (product) => product.brand === "Acme"],
    ["a brand, exactly as written", { brand: "acme" }, () => false],
    ["at least a price", { minPrice: eur(200n) }, ({ price }) => isEur(price, 200n, 400n)],
    ["at most a price", { maxPrice: eur(200n) }, ({ price }) => isEur(price, 0n, 200n)],
    ["a price range", { minPrice: eur(100n), maxPrice: eur(300n) }, ({ price }) => isEur(price, 100n, 300n)],
    ["one price", { minPrice: eur(0n), maxPrice: eur(0n) }, ({ price }) => isEur(price, 0n, 0n)],
    ["an unused currency", { minPrice: { currencyCode: "CHF", minorUnits: 0n } }, () => false],
    ["in stock", { inStockOnly: true }, (product) => product.stockQuantity > 0n],
    ["a word", { query: "zeb" }, (product) => product.name === "zebra"],
    [
      "all filters together",
      { categoryId: "tools", brand: "Bolt", inStockOnly: true, query: "axe", minPrice: eur(0n) },
      (product) =>
        product.categoryId === tools &&
        product.brand === "Bolt" &&
        product.stockQuantity > 0n &&
        product.name.toLowerCase() === "axe" &&
        isEur(product.price, 0n, 400n),
    ],
    ["an unknown category", { categoryId: missingId }, () => false],
  ])("lists are filtered by %s", async (_, request, holds) => {
    const categoryId = { tools, TOOLS: tools.toUpperCase() }[request.categoryId ?? ""] ?? request.categoryId;
    for (const showDeleted of [false, true]) {
      const expected = all.filter((product) => holds(product) && (showDeleted || !product.deleteTime));
      const found = await listAll({ ...request, categoryId, showDeleted });
      // A list with a query is sorted by relevance.
      expect(request.query === undefined ? found : found.toSorted(byId)).toEqual(expected);
      const total = TotalMode.EXACT;
      const { totalSize } = await catalog().listProducts({ ...request, categoryId, showDeleted, total });
      expect(totalSize).toBe(expected.length);
    }
  });

  test.each<[string, (one: Product, other: Product) => number]>([
    ["name", (one, other) => byText(one.name, other.name)],
    ["price", (one, other) => Number((one.price?.minorUnits ?? 0n) - (other.price?.minorUnits ?? 0n))],
    ["create_time", (one, other) => millisecondsOf(one) - millisecondsOf(other)],
  ])("lists are sorted by %s in both directions, and by id among equals", async (column, compare) => {
    const sold = all.filter((product) => !product.deleteTime);
    const ascending = sold.toSorted((one, other) => compare(one, other) || byText(one.id, other.id));
    for (const orderBy of [column, `${column} asc`, `  ${column}   asc `]) {
      expect(idsOf(await listAll({ orderBy }))).toEqual(idsOf(ascending));
    }
    expect(idsOf(await listAll({ orderBy: `${column} desc`, pageSize: 1 }))).toEqual(
      idsOf(ascending.toReversed()),
    );
  });

  test.each([
    "size",
    "price descending",
    "price desc, name",
    "name;",
    "price DESC",
    "active",
    "constructor",
    "price desc nulls first",
    "name asc desc",
    "1",
    "(select 1)",
    "name'--",
    "id; drop table product",
    "ñame",
  ])("the sort order %s is rejected", async (orderBy) => {
    expect(await failureOf(catalog().listProducts({ orderBy }))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      fields: ["order_by"],
    });
  });

  test("a page has 20 rows by default and at most 100", async () => {
    const first = await catalog().listProducts({ showDeleted: true });
    expect(first.products).toHaveLength(20);
    const second = await catalog().listProducts({ showDeleted: true, pageToken: first.nextPageToken });
    expect(second.products).toHaveLength(4);
    expect(second.nextPageToken).toBe("");
    const whole = await catalog().listProducts({ showDeleted: true, pageSize: 100 });
    expect(whole.products).toHaveLength(24);
    expect(whole.nextPageToken).toBe("");
    // A full page without further rows has no next page token.
    expect((await catalog().listProducts({ showDeleted: true, pageSize: 24 })).nextPageToken).toBe("");
    for (const pageSize of [-1, 101, 2_147_483_647, -2_147_483_648]) {
      expect(await failureOf(catalog().listProducts({ pageSize }))).toMatchObject({
        code: "InvalidArgument",
        fields: ["page_size"],
      });
    }
  });

  test("the total is zero, estimated or exact as requested", async () => {
    const sold = all.filter((product) => !product.deleteTime).length;
    const totalOf = async (total: TotalMode, more: ListRequest = {}) =>
      (await catalog().listProducts({ pageSize: 1, total, ...more })).totalSize;
    expect(await totalOf(TotalMode.UNSPECIFIED)).toBe(0);
    expect(await totalOf(TotalMode.NONE)).toBe(0);
    expect(await totalOf(TotalMode.EXACT)).toBe(sold);
    expect(await totalOf(TotalMode.EXACT, { query: "nothing-like-it" })).toBe(0);
    await shop.database.query("analyze product");
    expect(Math.abs((await totalOf(TotalMode.ESTIMATED)) - sold)).toBeLessThanOrEqual(3);
    const narrow = { query: "zebra", minPrice: eur(0n), brand: "Acme" };
    expect(await totalOf(TotalMode.ESTIMATED, narrow)).toBeLessThan(sold);
  });

  test("a read mask selects fields and changes neither the sort order nor the pages", async () => {
    const full = await listAll({ orderBy: "name desc" });
    const masked = await listAll({ orderBy: "name desc", readMask: { paths: ["price"] } });
    expect(masked.map(({ id, price }) => ({ id, price }))).toEqual(
      full.map(({ id, price }) => ({ id, price })),
    );
    expect(masked[0]).toMatchObject({ sku: "", brand: "", attributes: {}, stockQuantity: 0n });
    expect(await listAll({ orderBy: "name desc", readMask: { paths: ["*"] } })).toEqual(full);
    for (const path of ["nme", "price.minor_units", "search", "active", "constructor"]) {
      expect(await failureOf(catalog().listProducts({ readMask: { paths: [path] } }))).toMatchObject({
        code: "InvalidArgument",
        fields: ["read_mask"],
      });
    }
  });

  test.each([
    ["two currencies", eur(1n), { currencyCode: "USD", minorUnits: 2n }, "max_price.currency_code"],
    ["its maximum below its minimum", eur(2n), eur(1n), "max_price"],
    ["no currency", { currencyCode: "", minorUnits: 1n }, undefined, "min_price.currency_code"],
    ["a negative amount", undefined, eur(-1n), "max_price.minor_units"],
  ])("a price range with %s is rejected", async (_, minPrice, maxPrice, field) => {
    expect(await failureOf(catalog().listProducts({ minPrice, maxPrice }))).toMatchObject({
      code: "InvalidArgument",
      fields: [field],
    });
  });

  test.each([
    ["category_id", { categoryId: "tools" }],
    ["brand", { brand: "b".repeat(101) }],
    ["query", { query: "q".repeat(201) }],
    ["query", { query: "long ".repeat(2_000) }],
    ["order_by", { orderBy: " ".repeat(65) }],
    ["page_token", { pageToken: "t".repeat(5_000) }],
  ])("a %s out of bounds is rejected", async (field, request) => {
    expect(await failureOf(catalog().listProducts(request))).toMatchObject({
      code: "InvalidArgument",
      fields: [field],
    });
  });

  test("a page token of another query and a forged one are rejected", async () => {
    const request = { pageSize: 2, categoryId: tools, minPrice: eur(0n), orderBy: "price" };
    const { nextPageToken } = await catalog().listProducts(request);
    const others: ListRequest[] = [
      { ...request, orderBy: "price desc" },
      { ...request, orderBy: "" },
      { ...request, categoryId: toys },
      { ...request, minPrice: eur(1n) },
      { ...request, maxPrice: eur(9n) },
      { ...request, brand: "Acme" },
      { ...request, query: "axe" },
      { ...request, inStockOnly: true },
      { ...request, showDeleted: true },
    ];
    const forged = [
      nextPageToken.slice(0, -1),
      `${nextPageToken}A`,
      `A${nextPageToken}`,
      "garbage",
      "é",
      "\t",
    ];
    const brands = (await catalog().listBrands({ pageSize: 1 })).nextPageToken;
    for (const wrong of [
      ...others.map((other) => ({ ...other, pageToken: nextPageToken })),
      ...[...forged, brands].map((pageToken) => ({ ...request, pageToken })),
    ]) {
      expect(await failureOf(catalog().listProducts(wrong))).toMatchObject({
        code: "InvalidArgument",
        reason: "PAGE_TOKEN_INVALID",
        fields: ["page_token"],
      });
    }
    // Fields that do not affect the sequence of rows may differ.
    const free = { pageSize: 3, total: TotalMode.EXACT, readMask: { paths: ["name"] } };
    const next = { ...request, ...free, pageToken: nextPageToken, categoryId: tools.toUpperCase() };
    expect((await catalog().listProducts(next)).products).toHaveLength(3);
  });
});

test("a page token of one protocol is valid in the other", async () => {
  const first = await shop.catalog.listProducts({ pageSize: 2, minPrice: eur(0n) });
  const request = { pageSize: 2, minPrice: eur(0n), pageToken: first.nextPageToken };
  const second = await shop.json.catalog.listProducts(request);
  expect(second.products).toEqual((await shop.catalog.listProducts(request)).products);
});

test("lists sorted by the longest names are paged", async () => {
  const categoryId = await makeCategory(shop);
  const names = ["\u0001".repeat(200), "\u{1f600}".repeat(200), '"'.repeat(200)];
  for (const name of names) {
    await shop.catalog.createProduct({ product: productFields(categoryId, { name, sku: freshSku() }) });
  }
  const products = await listAllProducts(shop, { categoryId, orderBy: "name", pageSize: 1 });
  expect(products.map(({ name }) => name)).toEqual(names.toSorted(byText));
});

function isEur(price: Product["price"], min: bigint, max: bigint): boolean {
  return price?.currencyCode === "EUR" && price.minorUnits >= min && price.minorUnits <= max;
}

function millisecondsOf({ createTime }: Product): number {
  return Number(createTime?.seconds ?? 0n) * 1_000 + (createTime?.nanos ?? 0) / 1_000_000;
}
