/** When the seeded shop opened, in milliseconds since 1970: 1 January 2025, 00:00 UTC. */
export const OPENED_AT_MS = Date.UTC(2025, 0, 1);

/** What is seeded, each with a block of ids of its own. */
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
} as const;

/** What a seeded id is of. */
export type SeedKind = keyof typeof KINDS;

/**
 * The id of the n-th of its kind: always the same, a valid UUIDv7 (RFC 9562, 5.7) of the moment the shop
 * opened or of another one, so that whatever is made later sorts behind it. Its last digits are the number, in decimal, for
 * people: product 42 is 01941f29-7c00-7003-8000-000000000042.
 */
export function seedId(kind: SeedKind, number: number, atMs = OPENED_AT_MS): string {
  const time = Math.floor(atMs).toString(16).padStart(12, "0");
  const kindDigits = KINDS[kind].toString(16).padStart(3, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${kindDigits}-8000-${String(number).padStart(12, "0")}`;
}

/** When the n-th product or customer came: one every ten seconds since the shop opened. */
export function createTimeOf(number: number): string {
  return new Date(OPENED_AT_MS + number * 10_000).toISOString();
}

/** Numbers that are generated and written together. */
export interface NumberRange {
  first: number;
  last: number;
}

/** The numbers 1 to `total` in blocks of `size`; only the last can be shorter. */
export function* splitIntoBlocks(total: number, size: number): Generator<NumberRange> {
  for (let first = 1; first <= total; first += size) {
    yield { first, last: Math.min(first + size - 1, total) };
  }
}
