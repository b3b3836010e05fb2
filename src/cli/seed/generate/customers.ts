import { faker } from "@faker-js/faker/locale/en";
import { HOUR_MS } from "../../../kernel/durations.ts";
import { ACTIVE_AGE_MS, HISTORY_MS } from "./promotions.ts";
import { createdAtOf, type NumberRange, seedId } from "./seed-id.ts";

/** Number of customers that are generated from one seed of the random numbers. */
export const CUSTOMER_BLOCK = 250;

const MAX_ORDERS = 5;
const MAX_PURCHASES = 2;
const MAX_LINES = 4;
/** Orders are at least this old, so that their cancellation lies in the past too. */
const MIN_AGE_MS = 2 * HOUR_MS;

/** A customer of the seeded shop, with orders and purchases to be written. */
export interface SeedCustomer {
  id: string;
  email: string;
  name: string;
  createdAt: string;
  orders: SeedOrder[];
  purchases: SeedPurchase[];
}

/** An order of a customer. Items that exceed the stock are left out when it is written. */
export interface SeedOrder {
  number: number;
  /** Time between the order and the first run of the seed, in milliseconds. */
  ageMs: number;
  lines: { productNumber: number; quantity: number }[];
  /** Whether it is cancelled or expires. */
  isCancelled: boolean;
  /** Whether the order belongs to the promotion of its time, if there was one. */
  isPromoted: boolean;
}

/** A purchase of one unit outside the shop. */
export interface SeedPurchase {
  number: number;
  /** Time between the purchase and the first run of the seed, in milliseconds; within the active promotion. */
  ageMs: number;
  productNumber: number;
}

/**
 * Generates the customers of one block. Each block is generated from its first number with a seed of its own.
 * @param products number of products to choose from
 */
export function generateCustomers({ first, last }: NumberRange, products: number): SeedCustomer[] {
  faker.seed([2, first]);
  return Array.from({ length: last - first + 1 }, (_, index) => generateCustomer(first + index, products));
}

function generateCustomer(number: number, products: number): SeedCustomer {
  const [firstName, lastName] = [faker.person.firstName(), faker.person.lastName()];
  const localPart = `${firstName}.${lastName}`.toLowerCase().replaceAll(/[^a-z.]/g, "");
  const pickProduct = createProductPicker(number, products);
  return {
    id: seedId("customer", number),
    email: `${localPart}.${number}@example.com`,
    name: `${firstName} ${lastName}`,
    createdAt: createdAtOf(number),
    orders: generateUpTo(MAX_ORDERS, (index) => generateOrder(number * 10 + index, pickProduct)),
    purchases: generateUpTo(MAX_PURCHASES, (index) => ({
      number: number * 10 + index,
      ageMs: generateAge(ACTIVE_AGE_MS),
      productNumber: pickProduct(),
    })),
  };
}

function generateOrder(number: number, pickProduct: () => number): SeedOrder {
  const quantities = new Map<number, number>();
  do quantities.set(pickProduct(), faker.helpers.arrayElement([1, 1, 1, 1, 2, 3]));
  while (quantities.size < MAX_LINES && faker.number.float() < 0.4);
  return {
    number,
    ageMs: generateAge(HISTORY_MS),
    lines: [...quantities].map(([productNumber, quantity]) => ({ productNumber, quantity })),
    isCancelled: faker.number.float() < 0.1,
    isPromoted: faker.number.float() < 0.5,
  };
}

const generateAge = (maxMs: number) => faker.number.int({ min: MIN_AGE_MS, max: maxMs - 1 });

/**
 * Returns a function that picks product numbers, low ones more often, so that some products sell better than others.
 * The choice grows with the customers, so that they do not sell out the stock, and does not depend on the number of
 * products if there are enough.
 */
function createProductPicker(customerNumber: number, products: number): () => number {
  const choice = 2_000 + 10 * customerNumber;
  return () => (Math.floor(faker.number.float() ** 1.5 * choice) % products) + 1;
}

function generateUpTo<T>(max: number, generate: (index: number) => T): T[] {
  return Array.from({ length: faker.number.int({ min: 0, max }) }, (_, index) => generate(index));
}
