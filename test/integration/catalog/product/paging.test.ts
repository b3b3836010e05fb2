import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createProduct, productFields } from "../../../support/catalog/product-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

interface Row {
  id: string;
  name: string;
  brand: string;
  price: number;
  currency: string;
  stock: number;
  created: number;
  deleted: boolean;
}

interface Query {
  column: "" | "name" | "price" | "create_time";
  descending: boolean;
  pageSize: number;
  brand: string;
  min: number | undefined;
  max: number | undefined;
  inStockOnly: boolean;
  showDeleted: boolean;
}

// Few names, prices and times, so that many are equal; a wrong collation would sort some names differently.
const NAMES = [
  "a",
  "A",
  "a ",
  "á",
  "a\u0301",
  "ab",
  "a-b",
  "Z",
  "ß",
  "ss",
  "\uffee",
  "\u{1f600}",
  "日",
  "\u0001",
];
const START_MS = Date.UTC(2026, 0, 1);

const rows = fc.array(
  fc.record<Row>({
    // Not fc.uuid(): it shrinks to ids that exist already.
    id: fc.constant("").map(() => randomUUID()),
    name: fc.oneof(fc.constantFrom(...NAMES), fc.string({ unit: "binary", minLength: 1, maxLength: 5 })),
    brand: fc.constantFrom("", "Acme", "acme"),
    price: fc.nat(3),
    currency: fc.constantFrom("EUR", "EUR", "USD"),
    stock: fc.nat(1),
    created: fc.nat(3).map((step) => START_MS + step),
    deleted: fc.boolean(),
  }),
  { minLength: 1, maxLength: 40 },
);

const queries = fc.record<Query>({
  column: fc.constantFrom("", "name", "price", "create_time"),
  descending: fc.boolean(),
  pageSize: fc.integer({ min: 1, max: 12 }),
  brand: fc.constantFrom("", "", "Acme"),
  min: fc.option(fc.nat(2), { nil: undefined }),
  max: fc.option(fc.integer({ min: 2, max: 3 }), { nil: undefined }),
  inStockOnly: fc.boolean(),
  showDeleted: fc.boolean(),
});

test("the pages of any query on any products equal a filter and sort in memory", async () => {
  await fc.assert(
    fc.asyncProperty(rows, fc.array(queries, { minLength: 1, maxLength: 3 }), async (rows, queries) => {
      fc.pre(rows.every(({ name }) => !name.includes("\0")));
      const categoryId = await makeCategory(shop);
      await insert(categoryId, rows);
      for (const query of queries) {
        const { found, sizes } = await listPages(categoryId, query);
        expect(found).toEqual(expectedIds(rows, query));
        // All pages but the last are full.
        expect(sizes.slice(0, -1).every((size) => size === query.pageSize)).toBe(true);
      }
    }),
    { numRuns: 40 },
  );
});

/** Returns the ids that a query must list. PostgreSQL compares text by code point here. */
function expectedIds(rows: readonly Row[], query: Query): string[] {
  const priced = query.min !== undefined || query.max !== undefined;
  const key = (row: Row): Buffer => {
    if (query.column === "name") return Buffer.from(row.name);
    const number = { "": 0, price: row.price, create_time: row.created }[query.column];
    return Buffer.from(String(number).padStart(20, "0"));
  };
  const sorted = rows
    .filter((row) => query.showDeleted || !row.deleted)
    .filter((row) => query.brand === "" || row.brand === query.brand)
    .filter((row) => !query.inStockOnly || row.stock > 0)
    .filter((row) => !priced || row.currency === "EUR")
    .filter((row) => row.price >= (query.min ?? 0) && row.price <= (query.max ?? Number.POSITIVE_INFINITY))
    .sort((one, other) => Buffer.compare(key(one), key(other)) || (one.id < other.id ? -1 : 1));
  const ids = sorted.map(({ id }) => id);
  return query.descending && query.column !== "" ? ids.reverse() : ids;
}

/** Returns the ids of all pages, and the sizes of the pages. */
async function listPages(categoryId: string, query: Query): Promise<{ found: string[]; sizes: number[] }> {
  const price = (units: number | undefined) =>
    units === undefined ? undefined : { currencyCode: "EUR", minorUnits: BigInt(units) };
  const request = {
    categoryId,
    orderBy: query.column === "" ? "" : `${query.column}${query.descending ? " desc" : ""}`,
    pageSize: query.pageSize,
    brand: query.brand,
    inStockOnly: query.inStockOnly,
    showDeleted: query.showDeleted,
    minPrice: price(query.min),
    maxPrice: price(query.max),
  };
  const found: string[] = [];
  const sizes: number[] = [];
  let pageToken = "";
  do {
    const page = await shop.catalog.listProducts({ ...request, pageToken });
    found.push(...page.products.map(({ id }) => id));
    sizes.push(page.products.length);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return { found, sizes };
}

async function insert(categoryId: string, rows: readonly Row[]): Promise<void> {
  await shop.database.query(
    "insert into brand (name, created_at) values ('Acme', now()), ('acme', now()) on conflict do nothing",
  );
  await shop.database.query(
    `with item as (
       select * from json_to_recordset($2) as row (id uuid, name text, brand text, currency text, price bigint,
         stock bigint, created timestamptz, deleted boolean)
     ), stocked as (
       insert into inventory (product_id, on_hand) select id, stock from item
     )
     insert into product (id, sku, name, description, category_id, brand, currency, price_minor, in_stock,
       image_uri, attributes, created_at, updated_at, deleted_at)
     select id, id::text, name, '', $1, brand, currency, price, stock > 0, '', '{}', created, created,
       case when deleted then created end
     from item`,
    [
      categoryId,
      JSON.stringify(rows.map((row) => ({ ...row, created: new Date(row.created).toISOString() }))),
    ],
  );
}

test.each(["", "name", "name desc", "price", "price desc", "create_time", "create_time desc"])(
  "sorted by %j, unchanged products are listed exactly once while others change",
  async (orderBy) => {
    const categoryId = await makeCategory(shop);
    const make = (at: number) =>
      createProduct(shop, categoryId, {
        name: `N${at % 4}`,
        price: { currencyCode: "EUR", minorUnits: BigInt(at % 3) },
      });
    const unchanged: string[] = [];
    const changing: string[] = [];
    for (let at = 0; at < 24; at += 1) {
      const { id } = await make(at);
      (at % 2 === 0 ? unchanged : changing).push(id);
    }
    const found: string[] = [];
    let pageToken = "";
    let page = 0;
    do {
      const response = await shop.catalog.listProducts({ categoryId, orderBy, pageSize: 5, pageToken });
      found.push(...response.products.map(({ id }) => id));
      pageToken = response.nextPageToken;
      await make(page);
      const [moved = "", removed = ""] = changing.splice(0, 2);
      if (moved !== "") {
        const price = { currencyCode: "EUR", minorUnits: BigInt(page * 7) % 4n };
        await shop.catalog.updateProduct({ product: { id: moved, name: `N${(page * 3) % 5}`, price } });
        await shop.catalog.deleteProduct({ id: removed });
      }
      page += 1;
    } while (pageToken !== "");
    const times = new Map<string, number>();
    for (const id of found) times.set(id, (times.get(id) ?? 0) + 1);
    expect(unchanged.map((id) => times.get(id))).toEqual(unchanged.map(() => 1));
    expect(page).toBeGreaterThan(4);
  },
);

test("products added after the cursor are listed, and products added before it are not", async () => {
  const categoryId = await makeCategory(shop);
  for (const name of ["b", "d", "f"]) await createProduct(shop, categoryId, { name });
  const request = { categoryId, orderBy: "name", pageSize: 2 };
  const first = await shop.catalog.listProducts(request);
  for (const name of ["a", "c", "d", "e"]) {
    await shop.catalog.createProduct({ product: productFields(categoryId, { name }) });
  }
  const second = await shop.catalog.listProducts({ ...request, pageSize: 9, pageToken: first.nextPageToken });
  expect(first.products.map(({ name }) => name)).toEqual(["b", "d"]);
  // The new "d" has a higher id than the last row, and so is sorted after it.
  expect(second.products.map(({ name }) => name)).toEqual(["d", "e", "f"]);
});
