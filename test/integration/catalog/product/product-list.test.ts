import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Product } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import {
  type ListProductsRequestSchema,
  TotalMode,
} from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import {
  clientsOf,
  createProduct,
  defined,
  freshSku,
  missingId,
  productFields,
  protocols,
} from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let tools: string;
let toys: string;
/** All products, by id. */
let all: Product[];
beforeAll(async () => {
  shop = await startShop();
  tools = await makeCategory(shop);
  toys = await makeCategory(shop);
  all = [];
  for (let at = 0; at < 24; at += 1) {
    // Few names and prices, so that many products tie.
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
  // Equal times too.
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

/** Code point by code point, as PostgreSQL compares in C.UTF-8. */
function byText(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

const byId = (one: Product, other: Product) => byText(one.id, other.id);

type ListRequest = Omit<MessageInitShape<typeof ListProductsRequestSchema>, "$typeName">;

describe.each(protocols)("over %s", (protocol) => {
  const catalog = () => clientsOf(shop, protocol).catalog;

  /** All products of a query, page by page. */
  const walk = async (request: ListRequest) => {
    const found: Product[] = [];
    let pageToken = "";
    do {
      const page = await catalog().listProducts({ pageSize: 5, ...request, pageToken });
      found.push(...page.products);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return found;
  };

  test.each<[string, ListRequest, (product: Product) => boolean]>([
    ["all that is sold", {}, () => true],
    ["a category", { categoryId: "tools" }, (product) => product.categoryId === tools],
    ["a category, in capitals", { categoryId: "TOOLS" }, (product) => product.categoryId === tools],
    ["a brand", { brand: "Acme" }, (product) => product.brand === "Acme"],
    ["a brand, exactly as written", { brand: "acme" }, () => false],
    ["at least a price", { minPrice: eur(200n) }, ({ price }) => isEur(price, 200n, 400n)],
    ["at most a price", { maxPrice: eur(200n) }, ({ price }) => isEur(price, 0n, 200n)],
    ["a price range", { minPrice: eur(100n), maxPrice: eur(300n) }, ({ price }) => isEur(price, 100n, 300n)],
    ["one price", { minPrice: eur(0n), maxPrice: eur(0n) }, ({ price }) => isEur(price, 0n, 0n)],
    ["a currency nobody has", { minPrice: { currencyCode: "CHF", minorUnits: 0n } }, () => false],
    ["in stock", { inStockOnly: true }, (product) => product.stockQuantity > 0n],
    ["a word", { query: "zeb" }, (product) => product.name === "zebra"],
    [
      "everything together",
      { categoryId: "tools", brand: "Bolt", inStockOnly: true, query: "axe", minPrice: eur(0n) },
      (product) =>
        product.categoryId === tools &&
        product.brand === "Bolt" &&
        product.stockQuantity > 0n &&
        product.name.toLowerCase() === "axe" &&
        isEur(product.price, 0n, 400n),
    ],
    ["an unknown category", { categoryId: missingId }, () => false],
  ])("filters %s", async (_, request, holds) => {
    const categoryId = { tools, TOOLS: tools.toUpperCase() }[request.categoryId ?? ""] ?? request.categoryId;
    for (const showDeleted of [false, true]) {
      const expected = all.filter((product) => holds(product) && (showDeleted || !product.deleteTime));
      const found = await walk({ ...request, categoryId, showDeleted });
      // What has words comes by relevance.
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
  ])("orders by %s both ways, bus by id", async (column, compare) => {
    const sold = all.filter((product) => !product.deleteTime);
    const ascending = sold.toSorted((one, other) => compare(one, other) || byText(one.id, other.id));
    for (const orderBy of [column, `${column} asc`, `  ${column}   asc `]) {
      expect(idsOf(await walk({ orderBy }))).toEqual(idsOf(ascending));
    }
    expect(idsOf(await walk({ orderBy: `${column} desc`, pageSize: 1 }))).toEqual(
      idsOf(ascending.toReversed()),
    );
  });

  test.each([
    ...["size", "price descending", "price desc, name", "name;", "price DESC", "active", "constructor"],
    ...[
      "price desc nulls first",
      "name asc desc",
      "1",
      "(select 1)",
      "name'--",
      "id; drop table product",
      "ñame",
    ],
  ])("refuses to order by %s", async (orderBy) => {
    expect(await failureOf(catalog().listProducts({ orderBy }))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      fields: ["order_by"],
    });
  });

  test("a page has 20 rows unless said otherwise, and 100 at most", async () => {
    const first = await catalog().listProducts({ showDeleted: true });
    expect(first.products).toHaveLength(20);
    const second = await catalog().listProducts({ showDeleted: true, pageToken: first.nextPageToken });
    expect(second.products).toHaveLength(4);
    expect(second.nextPageToken).toBe("");
    const whole = await catalog().listProducts({ showDeleted: true, pageSize: 100 });
    expect(whole.products).toHaveLength(24);
    expect(whole.nextPageToken).toBe("");
    // A page that is just full is the last one.
    expect((await catalog().listProducts({ showDeleted: true, pageSize: 24 })).nextPageToken).toBe("");
    for (const pageSize of [-1, 101, 2_147_483_647, -2_147_483_648]) {
      expect(await failureOf(catalog().listProducts({ pageSize }))).toMatchObject({
        code: "InvalidArgument",
        fields: ["page_size"],
      });
    }
  });

  test("totals are 0, exact or a guess, as asked for", async () => {
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

  test("a read mask fills what it names, and changes neither order nor pages", async () => {
    const full = await walk({ orderBy: "name desc" });
    const masked = await walk({ orderBy: "name desc", readMask: { paths: ["price"] } });
    expect(masked.map(({ id, price }) => ({ id, price }))).toEqual(
      full.map(({ id, price }) => ({ id, price })),
    );
    expect(masked[0]).toMatchObject({ sku: "", brand: "", attributes: {}, stockQuantity: 0n });
    expect(await walk({ orderBy: "name desc", readMask: { paths: ["*"] } })).toEqual(full);
    for (const path of ["nme", "price.minor_units", "search", "active", "constructor"]) {
      expect(await failureOf(catalog().listProducts({ readMask: { paths: [path] } }))).toMatchObject({
        code: "InvalidArgument",
        fields: ["read_mask"],
      });
    }
  });

  test.each([
    ["two currencies", eur(1n), { currencyCode: "USD", minorUnits: 2n }, "max_price.currency_code"],
    ["an empty range", eur(2n), eur(1n), "max_price"],
    ["no currency", { currencyCode: "", minorUnits: 1n }, undefined, "min_price.currency_code"],
    ["less than nothing", undefined, eur(-1n), "max_price.minor_units"],
  ])("refuses a price range of %s", async (_, minPrice, maxPrice, field) => {
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
  ])("refuses a %s out of its bounds", async (field, request) => {
    expect(await failureOf(catalog().listProducts(request))).toMatchObject({
      code: "InvalidArgument",
      fields: [field],
    });
  });

  test("a page token belongs to its query and to nobody's invention", async () => {
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
    // What does not change the rows may change.
    const free = { pageSize: 3, total: TotalMode.EXACT, readMask: { paths: ["name"] } };
    const next = { ...request, ...free, pageToken: nextPageToken, categoryId: tools.toUpperCase() };
    expect((await catalog().listProducts(next)).products).toHaveLength(3);
  });
});

test("a token of one protocol is good in the other", async () => {
  const first = await shop.catalog.listProducts({ pageSize: 2, minPrice: eur(0n) });
  const request = { pageSize: 2, minPrice: eur(0n), pageToken: first.nextPageToken };
  const second = await shop.json.catalog.listProducts(request);
  expect(second.products).toEqual((await shop.catalog.listProducts(request)).products);
});

test("the longest names can be paged through", async () => {
  const categoryId = await makeCategory(shop);
  const names = ["\u0001".repeat(200), "\u{1f600}".repeat(200), '"'.repeat(200)];
  for (const name of names) {
    await shop.catalog.createProduct({ product: productFields(categoryId, { name, sku: freshSku() }) });
  }
  let pageToken = "";
  const found: string[] = [];
  do {
    const request = { categoryId, orderBy: "name", pageSize: 1, pageToken };
    const page = await shop.catalog.listProducts(request);
    found.push(...page.products.map(({ name }) => name));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(found).toEqual(names.toSorted(byText));
});

function isEur(price: Product["price"], min: bigint, max: bigint): boolean {
  return price?.currencyCode === "EUR" && price.minorUnits >= min && price.minorUnits <= max;
}

function millisecondsOf({ createTime }: Product): number {
  return Number(createTime?.seconds ?? 0n) * 1_000 + (createTime?.nanos ?? 0) / 1_000_000;
}
