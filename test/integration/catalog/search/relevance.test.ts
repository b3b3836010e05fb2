import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  insertProducts,
  listAllProducts,
  type ProductInsert,
} from "../../../support/catalog/product-rows.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let categoryId: string;
beforeAll(async () => {
  // Rows that are inserted directly do not invalidate the cache.
  shop = await startShop({ CACHE: "off" });
  categoryId = await makeCategory(shop);
});
afterAll(() => shop.close());

const insert = (products: Omit<ProductInsert, "categoryId">[]) =>
  insertProducts(
    shop,
    products.map((product) => ({ categoryId, ...product })),
  );
const namesOf = (products: { name: string }[]) => products.map(({ name }) => name);

test("matches are ranked by name, then brand, then description, and whole words before prefixes", async () => {
  await insert([
    { name: "in the text", description: "with a zither" },
    { name: "of the brand", brand: "Zither" },
    { name: "zither" },
    { name: "zitherist" },
    { name: "zither twice", description: "zither" },
  ]);
  const best = ["zither twice", "zither", "of the brand", "zitherist", "in the text"];
  for (const orderBy of ["", "relevance", "relevance desc"]) {
    expect(namesOf(await listAllProducts(shop, { query: "Zither", orderBy }))).toEqual(best);
  }
  expect(
    namesOf(await listAllProducts(shop, { query: "zither", orderBy: "relevance asc", pageSize: 2 })),
  ).toEqual(best.toReversed());
});

test("equally relevant matches are sorted by popularity and id, on pages of any size", async () => {
  const ids = await insert(Array.from({ length: 23 }, (_, at) => ({ name: "lute", sold: (at % 3) * 100 })));
  const expected = [2, 1, 0].flatMap((rest) =>
    ids
      .filter((_, at) => at % 3 === rest)
      .sort()
      .reverse(),
  );
  for (const pageSize of [1, 4, 22, 23, 100]) {
    expect((await listAllProducts(shop, { query: "lute", pageSize })).map(({ id }) => id)).toEqual(expected);
  }
});

test.each(["gRPC", "Connect JSON"])(
  "the sort order by relevance without a query is rejected over %s",
  async (protocol) => {
    const { catalog } = protocol === "gRPC" ? shop : shop.json;
    for (const orderBy of ["relevance", "relevance desc"]) {
      const failure = await failureOf(catalog.listProducts({ orderBy }));
      expect(failure).toMatchObject({ code: "InvalidArgument", fields: ["order_by"] });
      expect(failure.message).toContain("name, price, create_time, popularity, rating,");
    }
  },
);

test.each([
  ["popularity", "sold"],
  ["rating", "rating"],
] as const)("orders by %s both ways, bus by id, with words and without", async (orderBy, column) => {
  const name = `viol${column}`;
  const values = [0.1, 5, 2.3, 4.7, 3.3333333333333335, 2.3, 0, 5];
  const ids = await insert(
    values.map((value) => ({ name, [column]: column === "sold" ? Math.round(value * 1e4) : value })),
  );
  const category = await makeCategory(shop);
  await shop.database.query("update product set category_id = $1 where name = $2", [category, name]);
  const expected = ids
    .map((id, at) => ({ id, value: values[at] ?? 0 }))
    .sort((one, other) => one.value - other.value || (one.id < other.id ? -1 : 1))
    .map(({ id }) => id);
  for (const request of [{ categoryId: category }, { query: name }]) {
    const found = await listAllProducts(shop, { ...request, orderBy, pageSize: 3 });
    expect(found.map(({ id }) => id)).toEqual(expected);
    const back = await listAllProducts(shop, { ...request, orderBy: `${orderBy} desc`, pageSize: 1 });
    expect(back.map(({ id }) => id)).toEqual(expected.toReversed());
  }
});

describe("a search with more matches than are ranked", () => {
  const fill = (name: string, count: number) =>
    insert(Array.from({ length: count }, (_, at) => ({ name, sold: (at * 7919) % 5000 })));

  async function byPopularity(name: string): Promise<string[]> {
    const rows = await shop.database.query<{ id: string }>(
      "select id from product where name = $1 and active order by popularity desc, id desc",
      [name],
    );
    return rows.map(({ id }) => id);
  }

  test("matches that are too many to rank are listed by popularity on all pages in both directions", async () => {
    await fill("fiddle", 1_100);
    const expected = await byPopularity("fiddle");
    const found = await listAllProducts(shop, { query: "fiddle", pageSize: 100 });
    expect(found.map(({ id }) => id)).toEqual(expected);
    const back = await listAllProducts(shop, { query: "fiddle", pageSize: 100, orderBy: "relevance asc" });
    expect(back.map(({ id }) => id)).toEqual(expected.toReversed());
  });

  test("a list by popularity continues by popularity although few enough matches to rank are left", async () => {
    await fill("cello", 1_050);
    const expected = await byPopularity("cello");
    let page = 0;
    const found = await listAllProducts(shop, { query: "cello", pageSize: 100 }, async () => {
      page += 1;
      // Deletes all but the first 900, before any of the others is listed.
      if (page === 1) {
        await shop.database.query(
          `with stock as (delete from inventory where product_id = any($1)),
             sales as (delete from product_sales where product_id = any($1))
           delete from product where id = any($1)`,
          [expected.slice(900)],
        );
      }
    });
    expect(found.map(({ id }) => id)).toEqual(expected.slice(0, 900));
  });

  test("a ranked list stays ranked when products are added between its pages", async () => {
    await fill("banjo", 950);
    const expected = (await listAllProducts(shop, { query: "banjo", pageSize: 100 })).map(({ id }) => id);
    let page = 0;
    const found = await listAllProducts(shop, { query: "banjo", pageSize: 100 }, async () => {
      page += 1;
      if (page !== 3) return;
      await fill("banjo bag", 200);
      // Updated, so that they follow the added products in the table.
      await shop.database.query("update product set image_uri = 'x' where name = 'banjo'");
    });
    const ids = found.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const before = new Set(expected);
    expect(ids.filter((id) => before.has(id))).toEqual(expected);
  });
});
