/** Opening time of the seeded shop, in milliseconds since 1970: 1 January 2025, 00:00 UTC. */
const OPENED_AT_MS = Date.UTC(2025, 0, 1);
const ARRIVAL_INTERVAL_MS = 10_000;

/** Kinds of seeded rows, with the number of each in the ids. */
const KINDS = {
  category: 1,
  promotion: 2,
  product: 3,
  customer: 4,
  order: 5,
  sale: 6,
  reversal: 7,
  purchase: 8,
  review: 9,
  zone: 10,
  fulfillment: 11,
  payment: 12,
  entry: 13,
} as const;

/** Kind of a seeded row. */
export type SeedKind = keyof typeof KINDS;

/**
 * Returns the id of the n-th row of a kind, always the same: a UUIDv7 (RFC 9562, 5.7) of the opening time by default,
 * so that rows created later sort after it. Its last digits are the number in decimal for readability: product 42 is
 * 01941f29-7c00-7003-8000-000000000042.
 */
export function seedId(kind: SeedKind, number: number, atMs = OPENED_AT_MS): string {
  const time = Math.floor(atMs).toString(16).padStart(12, "0");
  const kindDigits = KINDS[kind].toString(16).padStart(3, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${kindDigits}-8000-${String(number).padStart(12, "0")}`;
}

/** Returns the creation time of the n-th product or customer: one every ten seconds from the opening time. */
export function createdAtOf(number: number): string {
  return new Date(OPENED_AT_MS + number * ARRIVAL_INTERVAL_MS).toISOString();
}

/** Consecutive numbers of rows, both ends included. */
export interface NumberRange {
  first: number;
  last: number;
}

/** Splits the numbers 1 to `total` into blocks of `size`. The last one may be shorter. */
export function* splitIntoBlocks(total: number, size: number): Generator<NumberRange> {
  for (let first = 1; first <= total; first += size) {
    yield { first, last: Math.min(first + size - 1, total) };
  }
}
