import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  clientsOf,
  createProduct,
  defined,
  freshSku,
  missingId,
  postJson,
  productFields,
  protocols,
  readProduct,
} from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
let categoryId: string;
beforeAll(async () => {
  // Rows that are inserted directly do not invalidate the cache.
  shop = await startShop({ CACHE: "off" });
  // Its name is part of the searchable text.
  const { category } = await shop.catalog.createCategory({ category: { slug: "tools", name: "Tools" } });
  categoryId = defined(category).id;
  const products = [
    {
      sku: "HAM-000123",
      name: "Claw Hammer",
      brand: "Acme",
      description: "Steel head, 16 oz. Not for the weak.",
    },
    { sku: "SAW.7_b", name: "Hand saw", brand: "Söhne & Co", description: "Cuts wood (and fingers)" },
    { sku: "JP1", name: "日本語の辞書", brand: "", description: "a dictionary" },
    { sku: "ARM", name: "Ärmel-Hemd", brand: "O'Neill", description: "C:\\shirts\\100%" },
    { sku: "EMO", name: "Smile \u{1f600} mug", brand: "", description: "the and or not" },
  ];
  for (const product of products) await createProduct(shop, categoryId, product);
});
afterAll(() => shop.close());

describe.each(protocols)("over %s", (protocol) => {
  const catalog = () => clientsOf(shop, protocol).catalog;
  const search = async (query: string) => {
    const { products } = await catalog().listProducts({ query, pageSize: 100, orderBy: "create_time" });
    return products.map(({ sku }) => sku).filter((sku) => !sku.startsWith("SKU"));
  };

  test.each([
    ["a word of the name", "hammer", ["HAM-000123"]],
    ["a word in any case", "HAMMER", ["HAM-000123"]],
    ["a prefix of a word", "ha", ["HAM-000123", "SAW.7_b"]],
    ["words in any order", "hammer claw", ["HAM-000123"]],
    ["words of different fields", "acme steel ham", ["HAM-000123"]],
    ["no product that lacks one of the words", "hammer saw", []],
    ["no product by the middle of a word", "aw", []],
    ["a sku", "HAM-000123", ["HAM-000123"]],
    ["a part of a sku", "000123", ["HAM-000123"]],
    ["a sku with other punctuation", "saw 7/b", ["SAW.7_b"]],
    ["a brand", "söhne", ["SAW.7_b"]],
    ["non-ASCII letters in any case", "SÖHNE", ["SAW.7_b"]],
    ["a word after a hyphen", "hemd", ["ARM"]],
    ["a word after an apostrophe", "o'neill", ["ARM"]],
    ["a prefix in a language without spaces", "日本", ["JP1"]],
    ["a stop word", "the", ["HAM-000123", "EMO"]],
    ["several stop words", "the and or not", ["EMO"]],
    ["a word beside an emoji", "\u{1f600} smile \u{1f600}", ["EMO"]],
    ["words between white space of all kinds", "\t claw\u00a0\n hammer\u3000", ["HAM-000123"]],
  ])("a query finds %s", async (_, query, skus) => {
    expect(await search(query)).toEqual(skus);
  });

  test.each([
    ["claw & hammer | saw", []],
    ["claw & hammer", ["HAM-000123"]],
    ["!hammer", ["HAM-000123"]],
    ["claw <-> hammer", ["HAM-000123"]],
    ["hammer <2> claw", []],
    ["ham:*", ["HAM-000123"]],
    ["ham:A", ["HAM-000123"]],
    ["'hammer'", ["HAM-000123"]],
    ["'hammer' & ''", ["HAM-000123"]],
    ['"claw hammer"', ["HAM-000123"]],
    ["(hammer", ["HAM-000123"]],
    ["hammer)))", ["HAM-000123"]],
    ["hammer\\", ["HAM-000123"]],
    ["\\'hammer", ["HAM-000123"]],
    ["C:\\shirts\\100%", ["ARM"]],
    ["-hammer", ["HAM-000123"]],
    ["steel, head; (16) oz!", ["HAM-000123"]],
    ["$1 hammer", ["HAM-000123"]],
    ["$9 hammer", []],
    ["hammer'; drop table product; --", []],
  ])("operators and punctuation only separate words: %s", async (query, skus) => {
    expect(await search(query)).toEqual(skus);
  });

  test.each(["!", "& | !", "''", "\\", ":*", "   ", "\u{1f600}", "<->", "*", "#"])(
    "the query %j has no words and lists everything",
    async (query) => {
      expect(await search(query)).toEqual(await search(""));
    },
  );

  test("a query cannot match the lexeme of a category in the indexed text", async () => {
    expect(await search(`#${categoryId}`)).toEqual([]);
    expect(await search(`'#${categoryId}'`)).toEqual([]);
  });

  test("a query of 16 words is accepted and one of 17 is rejected", async () => {
    const words = Array.from({ length: 16 }, (_, at) => (at % 2 === 0 ? "claw" : "ham"));
    expect(await search(words.join(" "))).toEqual(["HAM-000123"]);
    expect(await failureOf(catalog().listProducts({ query: `${words.join(" ")} one` }))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      fields: ["query"],
    });
  });
});

test("a prefix of 20 indexed words finds all of them", async () => {
  const names = Array.from({ length: 20 }, (_, at) => `quo${"abcdefghijklmnopqrst"[at]}`);
  for (const name of names) await createProduct(shop, categoryId, { name });
  const { products } = await shop.catalog.listProducts({ query: "quo", orderBy: "name", pageSize: 100 });
  expect(products.map(({ name }) => name)).toEqual(names);
});

test("any query returns a list or fails with INVALID_ARGUMENT", async () => {
  const signs = fc.constantFrom(..."&|!()<>:*'\"\\-@ \t%_$;/,.{}[]~^`a1é\u{1f600}\u0301\u200d\u2028");
  const typed = fc.oneof(
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.array(signs, { maxLength: 60 }).map((all) => all.join("")),
  );
  await fc.assert(
    fc.asyncProperty(typed, async (query) => {
      fc.pre(!query.includes("\0"));
      const call = shop.catalog.listProducts({ query, orderBy: "name" });
      const code = await call.then(
        () => "OK",
        () => failureOf(call).then((failure) => failure.code),
      );
      expect(["OK", "InvalidArgument"]).toContain(code);
    }),
    { numRuns: 100 },
  );
});

test("a product with any name is found by its name", async () => {
  const sku = freshSku();
  const { id } = await createProduct(shop, categoryId, { sku });
  const name = fc
    .string({ unit: "binary", minLength: 1, maxLength: 12 })
    .filter((text) => !text.includes("\0"));
  await fc.assert(
    fc.asyncProperty(name, async (name) => {
      await shop.database.query(
        "update product set name = $1, sku = '~', brand = '', description = '' where id = $2",
        [name, id],
      );
      const { products } = await shop.catalog.listProducts({ query: name, pageSize: 100 });
      // A name without words makes a query that lists everything.
      expect(products.some((product) => product.id === id)).toBe(true);
    }),
    { numRuns: 100 },
  );
});

const HOSTILE = [
  "'; drop table product; --",
  "\\'; delete from product; --",
  "$1 $2 {0} %s %(x)s #{process.exit()} :name ?",
  "<script>alert(1)</script>",
  "\u202Eright to left\u202C \u200B \uFEFF \uFFFD \u0001\u007F",
  "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
  "null",
  "-- \n /* */ ;",
];

test.each(HOSTILE)("hostile text is stored unchanged and searched without effect: %j", async (text) => {
  for (const { catalog } of [shop, shop.json]) {
    const product = await createProduct({ ...shop, catalog }, categoryId, {
      name: text,
      description: text,
      brand: text,
      attributes: { [text.slice(0, 64)]: text },
    });
    expect(product).toMatchObject({ name: text, description: text, brand: text });
    expect(await readProduct(shop, product.id)).toEqual(product);
    const { products } = await catalog.listProducts({ brand: text, pageSize: 100 });
    expect(products.map(({ id }) => id)).toContain(product.id);
    expect(
      await failureOf(catalog.getProduct({ key: { case: "sku", value: text.slice(0, 64) } })),
    ).toMatchObject({
      code: "NotFound",
    });
    expect(await failureOf(catalog.listProducts({ orderBy: text.slice(0, 64) }))).toMatchObject({
      code: "InvalidArgument",
    });
  }
});

describe("NUL and lone surrogates", () => {
  const product = {
    sku: "A",
    name: "N",
    categoryId: missingId,
    price: { currencyCode: "EUR", minorUnits: "1" },
  };
  const invalidFields: [string, string, object][] = [
    ["CreateProduct", "name", { product: { ...product, name: "a@" } }],
    ["CreateProduct", "description", { product: { ...product, description: "@" } }],
    ["CreateProduct", "sku", { product: { ...product, sku: "A@" } }],
    ["CreateProduct", "attributes", { product: { ...product, attributes: { k: "@" } } }],
    ["CreateProduct", "attributes", { product: { ...product, attributes: { "@": "v" } } }],
    ["CreateProduct", "etag", { product: { ...product, etag: "@" } }],
    ["UpdateCategory", "name", { category: { id: missingId, name: "@" } }],
    ["GetProduct", "sku", { sku: "@" }],
    ["ListProducts", "query", { query: "a@" }],
    ["ListProducts", "brand", { brand: "@" }],
    ["ListProducts", "order_by", { orderBy: "name@" }],
    ["ListProducts", "page_token", { pageToken: "@" }],
    ["GetCategory", "slug", { slug: "@" }],
  ];

  test.each(invalidFields)(
    "NUL and lone surrogates in a JSON request of %s are rejected in the field %s",
    async (method, field, request) => {
      for (const bad of ["\\u0000", "\\ud800", "\\udc00x"]) {
        const response = await fetch(`${shop.url}/cartwright.catalog.v1.CatalogService/${method}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(request).replace("@", bad),
        });
        expect(response.status).toBe(400);
        const text = await response.text();
        expect(text).toContain('"invalid_argument"');
        expect(text).toContain(field);
      }
    },
  );

  test("NUL in a gRPC request is rejected", async () => {
    const invalid = { code: "InvalidArgument", reason: "INVALID_REQUEST" };
    const create = (more: object) => shop.catalog.createProduct({ product: productFields(categoryId, more) });
    expect(await failureOf(create({ name: "\0" }))).toMatchObject({ ...invalid, fields: ["product.name"] });
    expect(await failureOf(create({ attributes: { "k\0": "v" } }))).toMatchObject(invalid);
    expect(await failureOf(shop.catalog.listProducts({ query: "a\0b" }))).toMatchObject(invalid);
    const readMask = { paths: ["na\0me"] };
    expect(await failureOf(shop.catalog.listProducts({ readMask }))).toMatchObject(invalid);
  });

  test("surrogate pairs are accepted", async () => {
    const body = '{"query": "\\ud83d\\ude00"}';
    expect(await postJson(shop, "catalog.v1.CatalogService/ListProducts", body)).toEqual({
      status: 200,
      code: "",
    });
  });
});
