import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CreateProductRequestSchema } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import {
  ImportProductsRequestSchema,
  ImportRowSchema,
} from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { MoneySchema } from "../../../../gen/cartwright/type/v1/money_pb.ts";
import { generateProducts } from "../../../../src/cli/seed/generate/products.ts";
import { isCertainlyValid } from "../../../../src/rpc/validation/fast-validation.ts";

type RowInit = Omit<MessageInitShape<typeof ImportRowSchema>, "$typeName">;

const validator = createValidator();
const isValid = (row: RowInit) =>
  validator.validate(ImportRowSchema, create(ImportRowSchema, row)).kind === "valid";
const isFastValid = (row: RowInit) => isCertainlyValid(ImportRowSchema, create(ImportRowSchema, row));

const good: RowInit = {
  sku: "SKU-1",
  name: "Chair",
  categorySlug: "home-chairs",
  categoryId: "01941F29-7c00-7003-8000-000000000001",
  brand: "Oak & Sons",
  description: "Ä chair.",
  price: { currencyCode: "EUR", minorUnits: 1_999n },
  stockQuantity: 3n,
  imageUri: "https://images.example.com/products/1.jpg",
  attributes: { color: "red" },
  taxClass: "reduced",
  weightGrams: 450n,
};

test("typical import rows are certainly valid", () => {
  const rows = generateProducts({ first: 1, last: 1_000 }).map(({ priceMinor, stock, ...product }) => {
    const { sku, name, description, categorySlug, brand, imageUri, attributes } = product;
    const price = { currencyCode: "EUR", minorUnits: BigInt(priceMinor) };
    return {
      sku,
      name,
      description,
      categorySlug,
      brand,
      imageUri,
      attributes,
      price,
      stockQuantity: BigInt(stock),
    };
  });
  expect(rows.filter((row) => !isFastValid(row))).toEqual([]);
  expect(isFastValid({ ...good, stockQuantity: undefined, imageUri: "", brand: "", attributes: {} })).toBe(
    true,
  );
});

/** Strings on both sides of each length, and with characters that rules are about. */
const texts = (...lengths: number[]) =>
  fc.oneof(
    fc.constantFrom(
      ...lengths.flatMap((length) => ["a".repeat(length), "a".repeat(length + 1), "😀".repeat(length)]),
    ),
    fc.constantFrom(
      "",
      "\0",
      "a\0b",
      "a\nb",
      "a b",
      "-a",
      "a-",
      "a--b",
      "A.b_c-1",
      "a\n",
      "\ud800",
      "EUR",
      "EURO",
      "eur",
    ),
    fc.string({ unit: "binary", maxLength: 4 }),
  );
const uri = fc.oneof(
  fc.webUrl(),
  fc
    .tuple(
      fc.constantFrom("http://", "https://", "HTTPS://", "ftp://", "http:/", "", "//"),
      fc.string({ unit: fc.constantFrom(..."aZ0.-_~/:@%?#[] é"), maxLength: 12 }),
    )
    .map((parts) => parts.join("")),
  texts(2_000),
);
const row: fc.Arbitrary<RowInit> = fc.record(
  {
    sku: texts(0, 1, 64),
    name: texts(0, 1, 200),
    description: texts(10_000),
    categorySlug: texts(1, 64),
    categoryId: fc.oneof(fc.uuid(), texts(36)),
    brand: texts(100),
    price: fc.record({
      currencyCode: texts(3),
      minorUnits: fc.constantFrom(-1n, 0n, 10n ** 15n, 10n ** 15n + 1n),
    }),
    stockQuantity: fc.constantFrom(undefined, -1n, 0n, 10n ** 9n, 10n ** 9n + 1n),
    imageUri: uri,
    attributes: fc.dictionary(texts(0, 1, 64), texts(500), { maxKeys: 52 }),
    taxClass: texts(0, 1, 32),
    weightGrams: fc.constantFrom(undefined, -1n, 0n, 10n ** 9n, 10n ** 9n + 1n),
  },
  { requiredKeys: [] },
);

describe("a row that violates a rule is never certainly valid", () => {
  test.each(Object.keys(good))("a row that violates a rule is never certainly valid in %s", (key) => {
    const of = row.map((odd): RowInit => ({ ...good, ...(key in odd && { [key]: Reflect.get(odd, key) }) }));
    fc.assert(
      fc.property(of, (one) => {
        if (isFastValid(one)) expect(isValid(one)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    ["a price is missing", { ...good, price: undefined }],
    [
      "51 attributes",
      { ...good, attributes: Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`a${i}`, ""])) },
    ],
    ["a name of 201 characters", { ...good, name: "a".repeat(201) }],
    ["a currency in lower case", { ...good, price: { currencyCode: "eur", minorUnits: 1n } }],
  ])("a row that violates a rule is never certainly valid: %s", (_, one) => {
    expect(isFastValid(good)).toBe(true);
    expect(isFastValid(one)).toBe(false);
    expect(isValid(one)).toBe(false);
  });
});

test("a message with unknown rules is never certainly valid", () => {
  const price = create(MoneySchema, { currencyCode: "EUR", minorUnits: 1n });
  expect(isCertainlyValid(MoneySchema, price)).toBe(true);
  expect(isCertainlyValid(ImportProductsRequestSchema, create(ImportProductsRequestSchema))).toBe(false);
  expect(isCertainlyValid(CreateProductRequestSchema, create(CreateProductRequestSchema))).toBe(false);
});
