import { faker } from "@faker-js/faker/locale/en";
import type { ClientBase } from "pg";
import { SEED_CATEGORIES } from "./categories.ts";
import { createTimeOf, type NumberRange, seedId } from "./seed-id.ts";

/** Products are generated and written in blocks of this many. */
export const PRODUCT_BLOCK = 1_000;

const LINES = ["Classic", "Essential", "Compact", "Premium", "Urban", "Lite", "Pro", "Everyday", "Signature"];
const PROMISES = [
  "Made to last, with two years of warranty",
  "Repairable, with spare parts for ten years",
  "Light, sturdy and easy to clean",
  "Tested by hand before it leaves the workshop",
  "A favourite of our customers for years",
  "Packed without plastic",
];

/** A product of the seeded shop. */
export interface SeedProduct {
  id: string;
  sku: string;
  name: string;
  description: string;
  categorySlug: string;
  brand: string;
  /** Euro cents. */
  priceMinor: number;
  stock: number;
  imageUri: string;
  attributes: Record<string, string>;
  createdAt: string;
}

/**
 * The products `first` to `last` of one block. The block is generated from its beginning with a seed of its
 * own, so that product n is the same however many are asked for.
 */
export function generateProducts({ first, last }: NumberRange): SeedProduct[] {
  faker.seed([1, first]);
  return Array.from({ length: last - first + 1 }, (_, index) => generateProduct(first + index));
}

function generateProduct(number: number): SeedProduct {
  const pick = <T>(values: readonly T[]): T => faker.helpers.arrayElement(values);
  const category = pick(SEED_CATEGORIES);
  const [noun, low, high] = pick(category.productKinds);
  const [brand, line, material, color] = [
    pick(category.brands),
    pick(LINES),
    pick(category.materials),
    faker.color.human(),
  ];
  const [variant, values] = category.variant;
  const model = `${line[0]}${faker.number.int({ min: 10, max: 99 })}`;
  return {
    id: seedId("product", number),
    sku: `SKU-${String(number).padStart(6, "0")}`,
    name: `${brand} ${line} ${noun} ${model}`,
    description: `${noun} by ${brand} in ${color} ${material}. ${pick(PROMISES)}.`,
    categorySlug: category.slug,
    brand,
    priceMinor: generatePrice(low, high),
    stock: generateStock(),
    imageUri: `https://images.example.com/products/${number}.jpg`,
    attributes: { color, material, [variant]: pick(values) },
    createdAt: createTimeOf(number),
  };
}

/** Cheap ones are more frequent than dear ones, and all end as prices do: 4.49, 12.99, 349.00. */
function generatePrice(low: number, high: number): number {
  const euros = Math.round(low * (high / low) ** faker.number.float());
  if (euros >= 200) return (euros - (euros % 10) + 9) * 100;
  return euros * 100 - faker.helpers.arrayElement([1, 1, 1, 5, 51]);
}

/** Of a hundred products, three are sold out and seven nearly so. */
function generateStock(): number {
  const share = faker.number.float();
  if (share < 0.03) return 0;
  if (share < 0.1) return faker.number.int({ min: 1, max: 9 });
  return faker.number.int({ min: 20, max: 500 });
}

// The first row of the ledger comes of the rows that are really new, in the same statement: both or neither.
const INSERT = `
  with fresh as (
    insert into product (
      id, sku, name, description, category_id, brand, currency, price_minor, stock_quantity,
      image_uri, attributes, created_at, updated_at
    )
    select id, sku, name, description, category_id, brand, 'EUR', price_minor, stock, image_uri, attributes, at, at
    from unnest(
      $1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::bigint[], $8::bigint[],
      $9::text[], $10::jsonb[], $11::timestamptz[]
    ) as item (
      id, sku, name, description, category_id, brand, price_minor, stock, image_uri, attributes, at
    )
    on conflict do nothing
    returning id, stock_quantity, created_at
  ), ledger as (
    insert into stock_movement (product_id, delta, reason, effective_at, created_at)
    select id, stock_quantity, 'INITIAL', created_at, created_at from fresh where stock_quantity > 0
  )
  select count(*)::int as added from fresh`;

/**
 * Writes the products that are missing, each with the first row of its stock ledger.
 * @param categoryIds by slug
 * @returns how many were added
 */
export async function writeProducts(
  client: ClientBase,
  products: readonly SeedProduct[],
  categoryIds: ReadonlyMap<string, string>,
): Promise<number> {
  const column = <T>(value: (product: SeedProduct) => T) => products.map(value);
  const { rows } = await client.query<{ added: number }>({
    name: "seed_products",
    text: INSERT,
    values: [
      column((product) => product.id),
      column((product) => product.sku),
      column((product) => product.name),
      column((product) => product.description),
      column((product) => categoryIds.get(product.categorySlug)),
      column((product) => product.brand),
      column((product) => product.priceMinor),
      column((product) => product.stock),
      column((product) => product.imageUri),
      column((product) => JSON.stringify(product.attributes)),
      column((product) => product.createdAt),
    ],
  });
  return rows[0]?.added ?? 0;
}
