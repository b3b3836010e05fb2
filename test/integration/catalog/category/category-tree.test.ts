import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clientsOf, defined, protocols } from "../../../support/catalog/product-fixtures.ts";
import { insertProducts, type ListRequest, listAllProducts } from "../../../support/catalog/product-rows.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
/** Categories of which each is the parent of the next, and one category outside of them. */
let chain: string[];
let unrelated: string;
const NAMES = ["Electronics", "Sound & Vision", "Headgear", "Wireless", "Sport", "Running", "Night", "Rain"];
const nameOf = (level: number, at: number) => `item ${level} ${at % 3}`;

async function createCategory(name: string, parentId = ""): Promise<string> {
  const slug = name.toLowerCase().replace(/[^a-z]+/g, "-");
  return defined((await shop.catalog.createCategory({ category: { slug, name, parentId } })).category).id;
}

beforeAll(async () => {
  // Rows that are inserted directly do not invalidate the cache.
  shop = await startShop({ CACHE: "off" });
  chain = [];
  for (const name of NAMES) chain.push(await createCategory(name, chain.at(-1)));
  unrelated = await createCategory("Wireworks");
  const categories = [...chain, unrelated];
  await insertProducts(
    shop,
    Array.from({ length: 63 }, (_, at) => ({
      name: nameOf(at % 9, at),
      categoryId: categories[at % 9] ?? "",
      price: at % 4,
      sold: (at % 5) * 50,
      rating: at % 4,
      deleted: at % 10 === 9,
    })),
  );
});
afterAll(() => shop.close());

const levelOf = ({ name }: { name: string }) => Number(name.split(" ")[1]);

describe.each(protocols)("over %s", (protocol) => {
  const clients = () => clientsOf(shop, protocol);

  test.each([0, 3, 7])("a category at level %i lists the products of its descendants too", async (level) => {
    for (const showDeleted of [false, true]) {
      const expected = (await listAllProducts(clients(), { pageSize: 100, showDeleted })).filter(
        (product) => levelOf(product) >= level && levelOf(product) < 8,
      );
      for (const pageSize of [1, 10, 100]) {
        const request = { categoryId: chain[level] ?? "", pageSize, showDeleted };
        expect(await listAllProducts(clients(), request)).toEqual(expected);
      }
    }
  });

  test.each(["name", "price", "create_time", "popularity", "rating"])(
    "a category lists the products of its descendants in ascending and descending order of %s",
    async (orderBy) => {
      for (const showDeleted of [false, true]) {
        const all = await listAllProducts(clients(), { pageSize: 100, orderBy, showDeleted });
        const expected = all.filter((product) => levelOf(product) >= 2 && levelOf(product) < 8);
        const request: ListRequest = { categoryId: chain[2] ?? "", pageSize: 7, showDeleted };
        expect(await listAllProducts(clients(), { ...request, orderBy })).toEqual(expected);
        expect(await listAllProducts(clients(), { ...request, orderBy: `${orderBy} desc` })).toEqual(
          expected.toReversed(),
        );
      }
    },
  );

  test("a search in a category includes its descendants", async () => {
    const found = await listAllProducts(clients(), {
      query: "item",
      categoryId: chain[5] ?? "",
      pageSize: 4,
    });
    expect([...new Set(found.map(levelOf))].sort()).toEqual([5, 6, 7]);
    expect(found).toHaveLength(20);
  });

  test.each<[string, string, number[]]>([
    ["the name of a category", "electronics", [0, 1, 2, 3, 4, 5, 6, 7]],
    ["a word of the name of a category", "vision", [1, 2, 3, 4, 5, 6, 7]],
    ["a prefix of the names of two categories", "wire", [3, 4, 5, 6, 7, 8]],
    ["the name of a category and a word of products", "running item", [5, 6, 7]],
    ["the names of two categories", "rain sport", [7]],
  ])("a search for %s finds the products of the category and its descendants", async (_, query, levels) => {
    const found = await listAllProducts(clients(), { query, pageSize: 100 });
    expect([...new Set(found.map(levelOf))].sort()).toEqual(levels);
  });
});

test("a renamed category is found by its new name only", async () => {
  const id = await createCategory("Gardening");
  const [product] = await insertProducts(shop, [{ name: "spade", categoryId: id }]);
  const idsOf = async (query: string) => (await listAllProducts(shop, { query })).map((found) => found.id);
  expect(await idsOf("garden")).toEqual([product]);
  await shop.catalog.updateCategory({ category: { id, name: "Allotment" } });
  expect(await idsOf("allot")).toEqual([product]);
  expect(await idsOf("gardening")).toEqual([]);
});

describe("a range of creation times", () => {
  const at = (seconds: number, nanos = 0) => ({ seconds: BigInt(seconds), nanos });

  test("a range of creation times includes its start and excludes its end, to the millisecond", async () => {
    const categoryId = await createCategory("Clocks");
    const ids = await insertProducts(
      shop,
      [1, 2, 3].map(() => ({ categoryId })),
    );
    for (const [step, id] of ids.entries()) {
      await shop.database.query("update product set created_at = to_timestamp($1) where id = $2", [
        1_000 + step / 1_000,
        id,
      ]);
    }
    const found = async (request: ListRequest) =>
      (await listAllProducts(shop, { categoryId, orderBy: "create_time", ...request })).map(({ id }) =>
        ids.indexOf(id),
      );
    expect(await found({ minCreateTime: at(1_000, 1_000_000) })).toEqual([1, 2]);
    expect(await found({ minCreateTime: at(1_000, 1) })).toEqual([1, 2]);
    expect(await found({ maxCreateTime: at(1_000, 1_000_000) })).toEqual([0]);
    expect(await found({ maxCreateTime: at(1_000, 1_000_001) })).toEqual([0, 1]);
    expect(
      await found({ minCreateTime: at(1_000), maxCreateTime: at(1_000, 2_000_000), query: "thing" }),
    ).toEqual([0, 1]);
  });

  test("a range of creation times whose end is not after its start is rejected", async () => {
    for (const later of [at(9), at(10)]) {
      const failure = await failureOf(
        shop.catalog.listProducts({ minCreateTime: at(10), maxCreateTime: later }),
      );
      expect(failure).toMatchObject({ code: "InvalidArgument", fields: ["max_create_time"] });
    }
  });
});
