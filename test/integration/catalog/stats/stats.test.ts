import { timestampDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clientsOf, defined, protocols } from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
beforeAll(async () => {
  // Rows that are inserted directly do not invalidate the cache.
  shop = await startShop({ CACHE: "off" });
});
afterAll(() => shop.close());

/** Inserts 5 categories and 300 products in two currencies; some are deleted, without brand or sold out. */
async function insertProducts(): Promise<void> {
  await shop.database.query(`
    insert into category (id, slug, name, created_at, updated_at)
    select gen_random_uuid(), 'c' || n, 'Category ' || n, now(), now() from generate_series(1, 5) n`);
  await shop.database.query(`
    insert into brand (name, created_at)
    select name, now() from unnest(array['Acme', 'Bolt', 'acme', 'Ähre', 'Gone']) as name on conflict do nothing`);
  await shop.database.query(`
    insert into product (id, sku, name, description, category_id, brand, currency, price_minor, in_stock,
      image_uri, attributes, created_at, updated_at, deleted_at)
    select gen_random_uuid(), 'S' || n, 'P' || n, '', (select id from category where slug = 'c' || (1 + n * n % 4)),
      (array['Acme', 'Bolt', 'acme', '', 'Ähre', 'Gone'])[1 + n % 6], case when n % 7 = 0 then 'JPY' else 'EUR' end,
      n * n * 37 % 9973, n * 13 % 37 > 0, '', '{}', now(), now(), case when n % 5 = 0 or n % 6 = 5 then now() end
    from generate_series(1, 300) n`);
  await shop.database.query(
    "insert into inventory (product_id, on_hand) select id, substr(sku, 2)::bigint * 13 % 37 from product",
  );
}

interface Row {
  brand: string;
  category: string;
  currency: string;
  price: number;
  stock: number;
}

/** Returns the products that are not deleted. */
const readActive = () =>
  shop.database.query<Row>(`
    select brand, category_id as category, currency, price_minor::int as price, (on_hand - reserved)::int as stock
    from product join inventory on product_id = id where deleted_at is null order by price_minor`);

/** Counts equal values; the most frequent come first, then in the order of the values. */
function countEach(values: string[]): [string, bigint][] {
  const counts = new Map<string, bigint>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0n) + 1n);
  return [...counts].sort(
    ([one, many], [other, more]) =>
      Number(more - many) || Buffer.compare(Buffer.from(one), Buffer.from(other)),
  );
}

describe.each(protocols)("over %s", (protocol) => {
  const catalog = () => clientsOf(shop, protocol).catalog;

  test("the statistics of an empty catalogue are zero", async () => {
    await shop.database.query("truncate product, category, product_count, product_count_delta cascade");
    const { stats } = await catalog().getCatalogStats({});
    expect(stats).toMatchObject({
      productCount: 0n,
      soldOutCount: 0n,
      lowStockCount: 0n,
      lowStockThreshold: 10n,
    });
    expect(stats).toMatchObject({ prices: [], categories: [], brands: [] });
    expect((await catalog().listBrands({})).brands).toEqual([]);
    await insertProducts();
  });

  test("the statistics count the products that are not deleted", async () => {
    const beforeMs = Date.now();
    const { stats } = await catalog().getCatalogStats({});
    const rows = await readActive();
    const asOfMs = timestampDate(defined(stats?.asOfTime)).getTime();
    expect(asOfMs).toBeGreaterThanOrEqual(beforeMs);
    expect(asOfMs).toBeLessThanOrEqual(Date.now());
    expect(stats).toMatchObject({
      productCount: BigInt(rows.length),
      soldOutCount: BigInt(rows.filter(({ stock }) => stock === 0).length),
      lowStockCount: BigInt(rows.filter(({ stock }) => stock >= 1 && stock <= 10).length),
    });
    expect(stats?.brands.map(({ name, productCount }) => [name, productCount])).toEqual(
      countEach(rows.map(({ brand }) => brand).filter(Boolean)),
    );
    const counted = new Map(
      stats?.categories.map(({ categoryId, productCount }) => [categoryId, productCount]),
    );
    expect(counted).toEqual(new Map(countEach(rows.map(({ category }) => category))));
    const counts = stats?.categories.map(({ productCount }) => Number(productCount)) ?? [];
    expect(counts).toEqual(counts.toSorted((one, other) => other - one));
  });

  test("the price statistics are separate for each currency", async () => {
    const { stats } = await catalog().getCatalogStats({});
    const rows = await readActive();
    const expected = countEach(rows.map(({ currency }) => currency)).map(([currencyCode, productCount]) => {
      const prices = rows.filter(({ currency }) => currency === currencyCode).map(({ price }) => price);
      const money = (units: number) => ({ currencyCode, minorUnits: BigInt(Math.round(units)) });
      return {
        productCount,
        min: money(Math.min(...prices)),
        average: money(prices.reduce((sum, price) => sum + price, 0) / prices.length),
        max: money(Math.max(...prices)),
        // Of an even number of prices, the median is the lower of the two in the middle.
        median: money(prices[Math.ceil(prices.length / 2) - 1] ?? 0),
      };
    });
    expect(stats?.prices).toMatchObject(expected);
    expect(expected).toHaveLength(2);
    // count-rollup.test.ts compares the prices of all brands and categories.
    const acme = rows.filter(({ brand, currency }) => brand === "Acme" && currency === "EUR");
    const most = { currencyCode: "EUR", minorUnits: BigInt(acme.at(-1)?.price ?? 0) };
    const brand = stats?.brands.find(({ name }) => name === "Acme");
    expect(brand?.prices[0]).toMatchObject({ productCount: BigInt(acme.length), max: most });
    for (const { prices, productCount } of stats?.categories ?? []) {
      expect(prices.reduce((sum, price) => sum + price.productCount, 0n)).toBe(productCount);
    }
  });

  test("the request sets the threshold of low stock", async () => {
    const rows = await readActive();
    for (const threshold of [1, 25, 1_000_000]) {
      const { stats } = await catalog().getCatalogStats({ lowStockThreshold: BigInt(threshold) });
      expect(stats).toMatchObject({
        lowStockThreshold: BigInt(threshold),
        lowStockCount: BigInt(rows.filter(({ stock }) => stock >= 1 && stock <= threshold).length),
      });
    }
    for (const lowStockThreshold of [-1n, 1_000_001n]) {
      expect(await failureOf(catalog().getCatalogStats({ lowStockThreshold }))).toMatchObject({
        code: "InvalidArgument",
        fields: ["low_stock_threshold"],
      });
    }
  });

  test("the brands of products that are not deleted are listed page by page, sorted by name", async () => {
    const expected = countEach((await readActive()).map(({ brand }) => brand).filter(Boolean)).sort(
      ([one], [other]) => Buffer.compare(Buffer.from(one), Buffer.from(other)),
    );
    expect(expected.map(([name]) => name)).toEqual(["Acme", "Bolt", "acme", "Ähre"]);
    for (const pageSize of [1, 3, 4, 0]) {
      const found: unknown[] = [];
      let pageToken = "";
      do {
        const page = await catalog().listBrands({ pageSize, pageToken });
        found.push(...page.brands.map(({ name, productCount }) => [name, productCount]));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(found).toEqual(expected);
    }
    for (const wrong of [{ pageSize: -1 }, { pageSize: 101 }, { pageToken: "x" }]) {
      expect(await failureOf(catalog().listBrands(wrong))).toMatchObject({ code: "InvalidArgument" });
    }
  });

  test("the statistics follow every change of the catalogue", async () => {
    const { categories } = await catalog().listCategories({});
    const categoryId = categories.find(({ productCount }) => productCount === 0n)?.id ?? "";
    const { product } = await catalog().createProduct({
      product: {
        sku: `NEW-${protocol.length}`,
        name: "New",
        categoryId,
        brand: "Brandnew",
        stockQuantity: 1n,
        price: { currencyCode: "CHF", minorUnits: 5n },
      },
    });
    const read = async () => (await catalog().getCatalogStats({ lowStockThreshold: 1n })).stats;
    const created = await read();
    expect(created?.categories.at(-1)).toMatchObject({ categoryId, productCount: 1n });
    expect(created?.prices.map(({ max }) => max?.currencyCode)).toEqual(["EUR", "JPY", "CHF"]);
    await catalog().deleteProduct({ id: product?.id });
    const deleted = await read();
    expect(deleted?.productCount).toBe((created?.productCount ?? 0n) - 1n);
    expect(deleted?.categories.map((category) => category.categoryId)).not.toContain(categoryId);
    expect((await catalog().listBrands({})).brands.map(({ name }) => name)).not.toContain("Brandnew");
  });
});

test("20 concurrent products of a new brand create the brand once", async () => {
  const { categories } = await shop.catalog.listCategories({});
  const categoryId = categories[0]?.id ?? "";
  const price = { currencyCode: "EUR", minorUnits: 5n };
  const create = (n: number) =>
    shop.catalog.createProduct({
      product: { sku: `AT-ONCE-${n}`, name: "New", categoryId, brand: "Crowd", price },
    });
  const created = await Promise.all(Array.from({ length: 20 }, (_, n) => create(n)));
  await shop.catalog.updateProduct({ product: { id: created[0]?.product?.id, brand: "Renamed" } });
  const { brands } = await shop.catalog.listBrands({ pageSize: 100 });
  const count = (brand: string) => brands.find(({ name }) => name === brand)?.productCount;
  expect([count("Crowd"), count("Renamed")]).toEqual([19n, 1n]);
  const rows = await shop.database.query(
    "select name from brand where name in ('Crowd', 'Renamed') order by name",
  );
  expect(rows).toEqual([{ name: "Crowd" }, { name: "Renamed" }]);
});

test("the statistics have at most 100 brands, those with the most products", async () => {
  await shop.database.query(
    "insert into brand (name, created_at) select 'Many ' || n, now() from generate_series(0, 149) n",
  );
  await shop.database.query(`
    with added as (
      insert into product (id, sku, name, description, category_id, brand, currency, price_minor,
        image_uri, attributes, created_at, updated_at)
      select gen_random_uuid(), 'M' || n, 'M', '', (select id from category limit 1), 'Many ' || n % 150, 'EUR', 1, '',
        '{}', now(), now() from generate_series(1, 200) n returning id
    )
    insert into inventory (product_id, on_hand) select id, 0 from added`);
  const { stats } = await shop.catalog.getCatalogStats({});
  const expected = countEach((await readActive()).map(({ brand }) => brand).filter(Boolean)).slice(0, 100);
  expect(stats?.brands.map(({ name, productCount }) => [name, productCount])).toEqual(expected);
});

test("the statistics are exact beyond 2^53", async () => {
  const most = 10n ** 15n;
  await shop.database.query("update product set currency = 'EUR', price_minor = $1", [most]);
  const { stats } = await shop.json.catalog.getCatalogStats({});
  const money = { currencyCode: "EUR", minorUnits: most };
  expect(stats?.prices).toMatchObject([{ min: money, average: money, max: money, median: money }]);
});
