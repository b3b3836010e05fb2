import { timestampDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clientsOf, defined, protocols } from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
beforeAll(async () => {
  // Rows are written beside the shop, which its cache would not hear of.
  shop = await startShop({ CACHE: "off" });
});
afterAll(() => shop.close());

/** 5 categories and 300 products in two currencies, of which some are deleted, without brand or sold out. */
async function fill(): Promise<void> {
  await shop.database.query(`
    insert into category (id, slug, name, created_at, updated_at)
    select gen_random_uuid(), 'c' || n, 'Category ' || n, now(), now() from generate_series(1, 5) n`);
  await shop.database.query(`
    insert into brand (name, created_at)
    select name, now() from unnest(array['Acme', 'Bolt', 'acme', 'Ähre', 'Gone']) as name on conflict do nothing`);
  await shop.database.query(`
    insert into product (id, sku, name, description, category_id, brand, currency, price_minor, stock_quantity,
      image_uri, attributes, created_at, updated_at, deleted_at)
    select gen_random_uuid(), 'S' || n, 'P' || n, '', (select id from category where slug = 'c' || (1 + n * n % 4)),
      (array['Acme', 'Bolt', 'acme', '', 'Ähre', 'Gone'])[1 + n % 6], case when n % 7 = 0 then 'JPY' else 'EUR' end,
      n * n * 37 % 9973, n * 13 % 37, '', '{}', now(), now(), case when n % 5 = 0 or n % 6 = 5 then now() end
    from generate_series(1, 300) n`);
}

interface Row {
  brand: string;
  category: string;
  currency: string;
  price: number;
  stock: number;
}

/** All products that are sold, to be counted here. */
const sold = () =>
  shop.database.query<Row>(`
    select brand, category_id as category, currency, price_minor::int as price, stock_quantity::int as stock
    from product where deleted_at is null order by price_minor`);

/** How many rows there are of each kind, most first, then by kind. */
function tally(kinds: string[]): [string, bigint][] {
  const counts = new Map<string, bigint>();
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0n) + 1n);
  return [...counts].sort(
    ([one, many], [other, more]) =>
      Number(more - many) || Buffer.compare(Buffer.from(one), Buffer.from(other)),
  );
}

describe.each(protocols)("over %s", (protocol) => {
  const catalog = () => clientsOf(shop, protocol).catalog;

  test("an empty catalogue adds up to nothing", async () => {
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
    await fill();
  });

  test("the numbers are those of the products that are sold", async () => {
    const before = Date.now();
    const { stats } = await catalog().getCatalogStats({});
    const rows = await sold();
    const asOf = timestampDate(defined(stats?.asOfTime)).getTime();
    expect(Math.abs(asOf - before)).toBeLessThan(10_000);
    expect(stats).toMatchObject({
      productCount: BigInt(rows.length),
      soldOutCount: BigInt(rows.filter(({ stock }) => stock === 0).length),
      lowStockCount: BigInt(rows.filter(({ stock }) => stock >= 1 && stock <= 10).length),
    });
    expect(stats?.brands.map(({ name, productCount }) => [name, productCount])).toEqual(
      tally(rows.map(({ brand }) => brand).filter(Boolean)),
    );
    const counted = new Map(
      stats?.categories.map(({ categoryId, productCount }) => [categoryId, productCount]),
    );
    expect(counted).toEqual(new Map(tally(rows.map(({ category }) => category))));
    const counts = stats?.categories.map(({ productCount }) => Number(productCount)) ?? [];
    expect(counts).toEqual(counts.toSorted((one, other) => other - one));
  });

  test("prices are counted in each currency by itself", async () => {
    const { stats } = await catalog().getCatalogStats({});
    const rows = await sold();
    const expected = tally(rows.map(({ currency }) => currency)).map(([currencyCode, productCount]) => {
      const prices = rows.filter(({ currency }) => currency === currencyCode).map(({ price }) => price);
      const money = (units: number) => ({ currencyCode, minorUnits: BigInt(Math.round(units)) });
      return {
        productCount,
        min: money(Math.min(...prices)),
        average: money(prices.reduce((sum, price) => sum + price, 0) / prices.length),
        max: money(Math.max(...prices)),
        // At most this: the lower of the two in the middle.
        median: money(prices[Math.ceil(prices.length / 2) - 1] ?? 0),
      };
    });
    expect(stats?.prices).toMatchObject(expected);
    expect(expected).toHaveLength(2);
    // Those of a brand and a category are found alike: see tally.test.ts.
    const acme = rows.filter(({ brand, currency }) => brand === "Acme" && currency === "EUR");
    const most = { currencyCode: "EUR", minorUnits: BigInt(acme.at(-1)?.price ?? 0) };
    const brand = stats?.brands.find(({ name }) => name === "Acme");
    expect(brand?.prices[0]).toMatchObject({ productCount: BigInt(acme.length), max: most });
    for (const { prices, productCount } of stats?.categories ?? []) {
      expect(prices.reduce((sum, price) => sum + price.productCount, 0n)).toBe(productCount);
    }
  });

  test("what counts as low can be said", async () => {
    const rows = await sold();
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

  test("brands with products that are sold are listed by name, page by page", async () => {
    const expected = tally((await sold()).map(({ brand }) => brand).filter(Boolean)).sort(([one], [other]) =>
      Buffer.compare(Buffer.from(one), Buffer.from(other)),
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

  test("changes of the catalogue change its numbers", async () => {
    const { categories } = await catalog().listCategories({});
    const categoryId = categories.find(({ productCount }) => productCount === 0n)?.id ?? "";
    const { product } = await catalog().createProduct({
      product: {
        ...{ sku: `NEW-${protocol.length}`, name: "New", categoryId, brand: "Brandnew", stockQuantity: 1n },
        price: { currencyCode: "CHF", minorUnits: 5n },
      },
    });
    const read = async () => (await catalog().getCatalogStats({ lowStockThreshold: 1n })).stats;
    const there = await read();
    expect(there?.categories.at(-1)).toMatchObject({ categoryId, productCount: 1n });
    expect(there?.prices.map(({ max }) => max?.currencyCode)).toEqual(["EUR", "JPY", "CHF"]);
    await catalog().deleteProduct({ id: product?.id });
    const gone = await read();
    expect(gone?.productCount).toBe((there?.productCount ?? 0n) - 1n);
    expect(gone?.categories.map((category) => category.categoryId)).not.toContain(categoryId);
    expect((await catalog().listBrands({})).brands.map(({ name }) => name)).not.toContain("Brandnew");
  });
});

test("a brand is made once, by the first product that has it, and of 20 at once", async () => {
  const { categories } = await shop.catalog.listCategories({});
  const categoryId = categories[0]?.id ?? "";
  const price = { currencyCode: "EUR", minorUnits: 5n };
  const make = (n: number) =>
    shop.catalog.createProduct({
      product: { sku: `AT-ONCE-${n}`, name: "New", categoryId, brand: "Crowd", price },
    });
  const made = await Promise.all(Array.from({ length: 20 }, (_, n) => make(n)));
  await shop.catalog.updateProduct({ product: { id: made[0]?.product?.id, brand: "Renamed" } });
  const { brands } = await shop.catalog.listBrands({ pageSize: 100 });
  const count = (brand: string) => brands.find(({ name }) => name === brand)?.productCount;
  expect([count("Crowd"), count("Renamed")]).toEqual([19n, 1n]);
  const rows = await shop.database.query(
    "select name from brand where name in ('Crowd', 'Renamed') order by name",
  );
  expect(rows).toEqual([{ name: "Crowd" }, { name: "Renamed" }]);
});

test("100 brands are counted at most, those with most products", async () => {
  await shop.database.query(
    "insert into brand (name, created_at) select 'Many ' || n, now() from generate_series(0, 149) n",
  );
  await shop.database.query(`
    insert into product (id, sku, name, description, category_id, brand, currency, price_minor, stock_quantity,
      image_uri, attributes, created_at, updated_at)
    select gen_random_uuid(), 'M' || n, 'M', '', (select id from category limit 1), 'Many ' || n % 150, 'EUR', 1, 0, '',
      '{}', now(), now() from generate_series(1, 200) n`);
  const { stats } = await shop.catalog.getCatalogStats({});
  const expected = tally((await sold()).map(({ brand }) => brand).filter(Boolean)).slice(0, 100);
  expect(stats?.brands.map(({ name, productCount }) => [name, productCount])).toEqual(expected);
});

test("numbers past 2^53 are exact", async () => {
  const most = 10n ** 15n;
  await shop.database.query(
    "update product set currency = 'EUR', price_minor = $1, stock_quantity = 1000000000",
    [most],
  );
  const { stats } = await shop.json.catalog.getCatalogStats({});
  const money = { currencyCode: "EUR", minorUnits: most };
  expect(stats?.prices).toMatchObject([{ min: money, average: money, max: money, median: money }]);
});
