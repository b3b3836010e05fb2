import { faker } from "@faker-js/faker/locale/en";
import { SEED_CATEGORIES } from "./categories.ts";
import { createdAtOf, type NumberRange, seedId } from "./seed-id.ts";

/** Number of products that are generated from one seed of the random numbers. */
export const PRODUCT_BLOCK = 1_000;

const LINES = ["Classic", "Essential", "Compact", "Premium", "Urban", "Lite", "Pro", "Everyday", "Signature"];
const CLAIMS = [
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
  /** Empty for the standard class. */
  taxClass: string;
  /** 0 if it is unknown. */
  weightGrams: number;
  createdAt: string;
}

/**
 * Generates the products of one block. Each block is generated from its first number with a seed of its own, so that
 * product n does not depend on the number of products.
 */
export function generateProducts({ first, last }: NumberRange): SeedProduct[] {
  faker.seed([1, first]);
  return Array.from({ length: last - first + 1 }, (_, index) => generateProduct(first + index));
}

function generateProduct(number: number): SeedProduct {
  const pick = <T>(values: readonly T[]): T => faker.helpers.arrayElement(values);
  const category = pick(SEED_CATEGORIES);
  const [noun, minPrice, maxPrice, weightGrams, taxClass = ""] = pick(category.productKinds);
  const brand = pick(category.brands);
  const line = pick(LINES);
  const material = pick(category.materials);
  const color = faker.color.human();
  const [variant, values] = category.variant;
  const model = `${line[0]}${faker.number.int({ min: 10, max: 99 })}`;
  return {
    id: seedId("product", number),
    sku: `SKU-${String(number).padStart(6, "0")}`,
    name: `${brand} ${line} ${noun} ${model}`,
    description: `${noun} by ${brand} in ${color} ${material}. ${pick(CLAIMS)}.`,
    categorySlug: category.slug,
    brand,
    priceMinor: generatePrice(minPrice, maxPrice),
    stock: generateStock(),
    imageUri: `https://images.example.com/products/${number}.jpg`,
    attributes: { color, material, [variant]: pick(values) },
    taxClass,
    weightGrams,
    createdAt: createdAtOf(number),
  };
}

/** Generates a price in cents. Low ones are more frequent, and all have usual endings: 4.49, 12.99, 349.00. */
function generatePrice(min: number, max: number): number {
  const euros = Math.round(min * (max / min) ** faker.number.float());
  if (euros >= 200) return (euros - (euros % 10) + 9) * 100;
  return euros * 100 - faker.helpers.arrayElement([1, 1, 1, 5, 51]);
}

/** Generates a quantity: 3 % of the products are sold out, 7 % are nearly so. */
function generateStock(): number {
  const share = faker.number.float();
  if (share < 0.03) return 0;
  if (share < 0.1) return faker.number.int({ min: 1, max: 9 });
  return faker.number.int({ min: 20, max: 500 });
}
