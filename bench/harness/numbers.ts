/** Formats a number with its significant digits: 1,234 or 12.3 or 0.057. */
export function formatNumber(value: number): string {
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Returns the value at or below which a share of the values lies; NaN when there are none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** Returns the median; NaN when there are no values. */
export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Creates a seeded generator of pseudo-random numbers in [0, 1): mulberry32, by Tommy Ettinger. */
export function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Picks a value with uniform probability. */
export function pick<T>(values: readonly T[], random: () => number): T {
  const value = values[Math.floor(random() * values.length)];
  if (value === undefined) throw new RangeError("Cannot pick from no values.");
  return value;
}

/** Creates a generator that picks the n-th value with weight 1/n (Zipf's law with exponent 1), as shop traffic is distributed. */
export function createZipf<T>(values: readonly T[], random: () => number): () => T {
  let total = 0;
  const ends = values.map((_, index) => {
    total += 1 / (index + 1);
    return total;
  });
  return () => {
    const point = random() * total;
    let [low, high] = [0, ends.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((ends[middle] ?? total) > point) high = middle;
      else low = middle + 1;
    }
    const value = values[low];
    if (value === undefined) throw new RangeError("Cannot pick from no values.");
    return value;
  };
}

/** Returns the values in a random order. */
export function shuffle<T>(values: readonly T[], random: () => number): T[] {
  return values
    .map((value) => ({ value, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value);
}
