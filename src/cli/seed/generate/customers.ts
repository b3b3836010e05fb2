import { faker } from "@faker-js/faker/locale/en";
import { ACTIVE_MS, HISTORY_MS } from "./promotions.ts";
import { createTimeOf, type NumberRange, seedId } from "./seed-id.ts";

/** Customers are generated and written, with what they bought, in blocks of this many. */
export const CUSTOMER_BLOCK = 250;

/** The most orders of one customer. */
const MAX_ORDERS = 5;
/** Orders are at least this old, milliseconds, so that their cancelling lies in the past too. */
const MIN_AGE_MS = 2 * 3_600_000;

/** Somebody of the seeded shop, and what they are about to buy. */
export interface SeedCustomer {
  id: string;
  email: string;
  name: string;
  createdAt: string;
  orders: SeedOrder[];
  purchases: SeedPurchase[];
}

/** An order that a customer wants. What the shop does not have any more is left out of it. */
export interface SeedOrder {
  number: number;
  /** How long before the first run of the seed it was placed, milliseconds. */
  ageMs: number;
  lines: { productNumber: number; quantity: number }[];
  isCancelled: boolean;
  /** Whether it belongs to the promotion of its time, if there was one. */
  isPromoted: boolean;
}

/** A purchase that was made elsewhere, and only recorded here. */
export interface SeedPurchase {
  number: number;
  /** As an order's; within the time of the running promotion. */
  ageMs: number;
  productNumber: number;
}

/**
 * The customers `first` to `last` of one block, which is generated from its beginning with a seed of its own.
 * @param products how many products there are to choose from
 */
export function generateCustomers({ first, last }: NumberRange, products: number): SeedCustomer[] {
  faker.seed([2, first]);
  return Array.from({ length: last - first + 1 }, (_, index) => generateCustomer(first + index, products));
}

function generateCustomer(number: number, products: number): SeedCustomer {
  const [firstName, lastName] = [faker.person.firstName(), faker.person.lastName()];
  const address = `${firstName}.${lastName}`.toLowerCase().replaceAll(/[^a-z.]/g, "");
  return {
    id: seedId("customer", number),
    email: `${address}.${number}@example.com`,
    name: `${firstName} ${lastName}`,
    createdAt: createTimeOf(number),
    orders: several(MAX_ORDERS, (index) => generateOrder(number * 10 + index, favourites(number, products))),
    purchases: several(2, (index) => ({
      number: number * 10 + index,
      ageMs: generateAge(ACTIVE_MS),
      productNumber: favourites(number, products)(),
    })),
  };
}

function generateOrder(number: number, favourite: () => number): SeedOrder {
  const quantities = new Map<number, number>();
  do quantities.set(favourite(), faker.helpers.arrayElement([1, 1, 1, 1, 2, 3]));
  while (quantities.size < 4 && faker.number.float() < 0.4);
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
 * Draws product numbers, low ones more often, as some products sell better than others. Among how many does
 * not depend on how many there are as long as there are enough: it grows with the customers, so that they do
 * not buy up the stock.
 */
function favourites(customerNumber: number, products: number): () => number {
  const choice = 2_000 + 10 * customerNumber;
  return () => (Math.floor(faker.number.float() ** 1.5 * choice) % products) + 1;
}

function several<T>(most: number, generate: (index: number) => T): T[] {
  return Array.from({ length: faker.number.int({ min: 0, max: most }) }, (_, index) => generate(index));
}
