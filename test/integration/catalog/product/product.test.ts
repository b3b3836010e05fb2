import { timestampDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  clientsOf,
  createProduct,
  defined,
  freshSku,
  missingId,
  productFields,
  protocols,
  readProduct,
  readResourceInfo,
} from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let categoryId: string;
beforeAll(async () => {
  shop = await startShop();
  categoryId = await makeCategory(shop);
});
afterAll(() => shop.close());

const NOT_FOUND = { code: "NotFound", reason: "PRODUCT_NOT_FOUND" };

describe.each(protocols)("over %s", (protocol) => {
  const catalog = () => clientsOf(shop, protocol).catalog;

  test("a product is returned as it was created, and output-only fields of the request are ignored", async () => {
    const written = {
      sku: freshSku(),
      name: "Hammer ⚒ Ünïcödé \u{1f528}",
      description: 'Line one\nline two\t"quoted" \\ %s',
      categoryId,
      brand: "Acme & Söhne",
      price: { currencyCode: "JPY", minorUnits: 1_000_000_000_000_000n },
      stockQuantity: 1_000_000_000n,
      imageUri: "https://example.com/a.png?size=1&x=%20",
    };
    // Keys with a meaning in JavaScript, the ORM or other databases are keys like any other.
    const attributes: Record<string, string> = JSON.parse(
      '{"color": "red", "größe": "", "toString": "t", "__proto__": "p", "toJSON": "j", "$ne": "n", "__entity": "e"}',
    );
    const before = Date.now();
    const { product } = await catalog().createProduct({
      product: {
        ...written,
        attributes,
        id: missingId,
        etag: "77",
        ratingAverage: 5,
        ratingCount: 9n,
        purchaseCount: 9n,
        createTime: { seconds: 1n, nanos: 0 },
        deleteTime: { seconds: 1n, nanos: 0 },
      },
    });
    expect(product).toMatchObject(written);
    expect(Object.entries(product?.attributes ?? {}).sort()).toEqual(Object.entries(attributes).sort());
    expect(product).toMatchObject({ etag: "1", ratingAverage: 0, ratingCount: 0n, purchaseCount: 0n });
    expect(product?.id).not.toBe(missingId);
    expect(product?.deleteTime).toBeUndefined();
    const created = timestampDate(defined(product?.createTime)).getTime();
    expect(created).toBeGreaterThanOrEqual(before);
    expect(created).toBeLessThanOrEqual(Date.now());
    expect(product?.updateTime).toEqual(product?.createTime);
    const read = await readProduct(shop, product?.id ?? "");
    expect(read).toEqual(product);
    // The text, since toEqual ignores the key __proto__.
    expect(JSON.stringify(read.attributes)).toBe(JSON.stringify(product?.attributes));
  });

  test("a product is read by its id, in upper or lower case, and by its sku", async () => {
    const product = await createProduct(shop, categoryId);
    for (const key of [
      { case: "id", value: product.id },
      { case: "id", value: product.id.toUpperCase() },
      { case: "sku", value: product.sku },
    ] as const) {
      expect((await catalog().getProduct({ key })).product).toEqual(product);
    }
  });

  test("an unknown product or category fails with NOT_FOUND and is named in the error", async () => {
    for (const key of [
      { case: "id", value: missingId },
      { case: "sku", value: "Ümläut' or 1=1; --" },
    ] as const) {
      expect(await failureOf(catalog().getProduct({ key }))).toMatchObject(NOT_FOUND);
      expect(await readResourceInfo(catalog().getProduct({ key }))).toEqual([
        "cartwright",
        "product",
        key.value,
      ]);
    }
    const request = { product: productFields(missingId) };
    expect(await failureOf(catalog().createProduct(request))).toMatchObject({
      code: "NotFound",
      reason: "CATEGORY_NOT_FOUND",
    });
    expect(await readResourceInfo(catalog().createProduct(request))).toEqual([
      "cartwright",
      "category",
      missingId,
    ]);
  });

  test("a deleted product is returned only with show_deleted", async () => {
    const { id, sku } = await createProduct(shop, categoryId);
    const { product } = await catalog().deleteProduct({ id });
    expect(product?.deleteTime).toBeDefined();
    for (const key of [
      { case: "id", value: id },
      { case: "sku", value: sku },
    ] as const) {
      expect(await failureOf(catalog().getProduct({ key }))).toMatchObject(NOT_FOUND);
      expect((await catalog().getProduct({ key, showDeleted: true })).product).toEqual(product);
    }
  });

  test("a read mask selects fields, and the id is always returned", async () => {
    const { id } = await createProduct(shop, categoryId, { brand: "Acme", stockQuantity: 3n });
    const key = { case: "id", value: id } as const;
    const read = (...paths: string[]) => catalog().getProduct({ key, readMask: { paths } });
    const { product } = await read("price", "stock_quantity");
    expect(product).toMatchObject({
      id,
      price: { currencyCode: "EUR", minorUnits: 1_000n },
      stockQuantity: 3n,
    });
    expect(product).toMatchObject({ name: "", brand: "", sku: "", etag: "", categoryId: "" });
    expect(product?.createTime).toBeUndefined();
    expect((await read("*")).product).toEqual(await readProduct(shop, id));
    expect(await failureOf(read("name", "search"))).toMatchObject({
      code: "InvalidArgument",
      fields: ["read_mask"],
    });
  });

  test("a batch returns the products in the order of the ids, or fails if one is missing", async () => {
    const ids: string[] = [];
    for (let count = 0; count < 5; count += 1) ids.unshift((await createProduct(shop, categoryId)).id);
    const [first = "", second = ""] = ids;
    const { products } = await catalog().batchGetProducts({ ids: [first.toUpperCase(), ...ids.slice(1)] });
    expect(products.map((product) => product.id)).toEqual(ids);
    expect(products[1]).toEqual(await readProduct(shop, second));
    const masked = await catalog().batchGetProducts({ ids: [first], readMask: { paths: ["sku"] } });
    expect(masked.products).toMatchObject([{ id: first, name: "" }]);
    expect(await failureOf(catalog().batchGetProducts({ ids: [first, missingId] }))).toMatchObject(NOT_FOUND);
    await shop.catalog.deleteProduct({ id: second });
    const failing = catalog().batchGetProducts({ ids: [first, second] });
    expect(await readResourceInfo(failing)).toEqual(["cartwright", "product", second]);
  });

  test("a batch has 1 to 100 distinct ids", async () => {
    const rows = await shop.database.query<{ id: string }>(`
      with added as (
        insert into product (id, sku, name, description, category_id, brand, currency, price_minor,
          image_uri, attributes, created_at, updated_at)
        select gen_random_uuid(), gen_random_uuid(), 'many', '', (select id from category limit 1), '', 'EUR', 1,
          '', '{}', now(), now() from generate_series(1, 101) returning id
      )
      insert into inventory (product_id, on_hand) select id, 0 from added returning product_id as id`);
    const ids = rows.map((row) => row.id);
    const { products } = await catalog().batchGetProducts({ ids: ids.slice(0, 100) });
    expect(products.map((product) => product.id)).toEqual(ids.slice(0, 100));
    const [one = ""] = ids;
    for (const wrong of [[], ids, [one, one]]) {
      expect(await failureOf(catalog().batchGetProducts({ ids: wrong }))).toMatchObject({
        code: "InvalidArgument",
        fields: ["ids"],
      });
    }
  });

  test("a sku is unique among all products, deleted ones included", async () => {
    const { id, sku } = await createProduct(shop, categoryId);
    const again = () => catalog().createProduct({ product: productFields(categoryId, { sku }) });
    const taken = { code: "AlreadyExists", reason: "SKU_TAKEN" };
    expect(await failureOf(again())).toMatchObject(taken);
    await shop.catalog.deleteProduct({ id });
    expect(await failureOf(again())).toMatchObject(taken);
    expect(await readResourceInfo(again())).toEqual(["cartwright", "product", sku]);
  });

  test("of ten concurrent products with the same sku, one is created", async () => {
    const product = productFields(categoryId);
    const tries = Array.from({ length: 10 }, () => catalog().createProduct({ product }));
    const outcomes = await Promise.allSettled(tries);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const failures = await Promise.all(
      outcomes.map((outcome, at) =>
        outcome.status === "rejected" ? failureOf(defined(tries[at])) : undefined,
      ),
    );
    expect(failures.filter((failure) => failure?.reason === "SKU_TAKEN")).toHaveLength(9);
  });

  test("one error names all required fields that are missing", async () => {
    expect(await failureOf(catalog().createProduct({ product: { brand: "Acme" } }))).toMatchObject({
      code: "InvalidArgument",
      reason: "FIELD_REQUIRED",
      fields: ["product.sku", "product.name", "product.category_id", "product.price"],
    });
    expect(await failureOf(catalog().createProduct({}))).toMatchObject({
      code: "InvalidArgument",
      fields: ["product"],
    });
  });
});

describe("the bounds of fields", () => {
  const price = { currencyCode: "EUR", minorUnits: 1n };
  test.each([
    ["sku", { sku: "with space" }],
    ["sku", { sku: "-starts-wrong" }],
    ["sku", { sku: "a".repeat(65) }],
    ["sku", { sku: "A\n" }],
    ["name", { name: "n".repeat(201) }],
    ["name", { name: "a\0b" }],
    ["description", { description: "d".repeat(10_001) }],
    ["category_id", { categoryId: "tools" }],
    ["brand", { brand: "b".repeat(101) }],
    ["price.currency_code", { price: { ...price, currencyCode: "eur" } }],
    ["price.currency_code", { price: { ...price, currencyCode: "EUR\n" } }],
    ["price.minor_units", { price: { ...price, minorUnits: -1n } }],
    ["price.minor_units", { price: { ...price, minorUnits: 10n ** 15n + 1n } }],
    ["price.minor_units", { price: { ...price, minorUnits: 2n ** 63n - 1n } }],
    ["stock_quantity", { stockQuantity: -1n }],
    ["stock_quantity", { stockQuantity: 2_000_000_001n }],
    ["image_uri", { imageUri: "ftp://example.com/a.png" }],
    ["image_uri", { imageUri: "https://exa mple.com" }],
    ["image_uri", { imageUri: `https://example.com/${"a".repeat(2_000)}` }],
    [
      "attributes",
      { attributes: Object.fromEntries(Array.from({ length: 51 }, (_, at) => [`k${at}`, "v"])) },
    ],
    ['attributes["a"]', { attributes: { a: "v".repeat(501) } }],
    ['attributes[""] (key)', { attributes: { "": "v" } }],
    ["id", { id: "1" }],
    ["etag", { etag: "e".repeat(65) }],
  ])(
    "a product whose %s is out of bounds is rejected, and the error names the field: %o",
    async (field, wrong) => {
      for (const { catalog } of [shop, shop.json]) {
        expect(
          await failureOf(catalog.createProduct({ product: productFields(categoryId, wrong) })),
        ).toMatchObject({
          code: "InvalidArgument",
          reason: "INVALID_REQUEST",
          fields: [`product.${field}`],
        });
      }
    },
  );

  test("a product without a currency code is rejected, since the field is required", async () => {
    for (const { catalog } of [shop, shop.json]) {
      const product = productFields(categoryId, { price: { ...price, currencyCode: "" } });
      expect(await failureOf(catalog.createProduct({ product }))).toMatchObject({
        code: "InvalidArgument",
        reason: "FIELD_REQUIRED",
        fields: ["product.price.currency_code"],
      });
    }
  });

  test("a product whose fields all have their maximum length is accepted", async () => {
    const widest = "\u{1f600}";
    const product = await createProduct(shop, categoryId, {
      sku: "s".repeat(64),
      name: widest.repeat(200),
      description: widest.repeat(10_000),
      brand: widest.repeat(100),
      attributes: Object.fromEntries(
        Array.from({ length: 50 }, (_, at) => [
          `${at}`.padStart(2, "0") + widest.repeat(62),
          widest.repeat(500),
        ]),
      ),
    });
    expect(await readProduct(shop, product.id)).toEqual(product);
  });
});

test("a missing, empty or too long key is rejected", async () => {
  expect(await failureOf(shop.catalog.getProduct({}))).toMatchObject({
    code: "InvalidArgument",
    fields: ["key"],
  });
  for (const key of [
    { case: "id", value: "" },
    { case: "sku", value: "" },
    { case: "sku", value: "a".repeat(65) },
  ] as const) {
    expect(await failureOf(shop.catalog.getProduct({ key }))).toMatchObject({ fields: [key.case] });
  }
});
