/** Formats a number with thousands separators, such as 12,000. */
export function formatCount(count: number | bigint): string {
  return count.toLocaleString("en");
}

/** Formats a number with a noun in singular or plural, such as `1 row` or `12,000 rows`. */
export function formatQuantity(count: number | bigint, noun: string): string {
  return `${formatCount(count)} ${noun}${Number(count) === 1 ? "" : "s"}`;
}
