/**
 * Divides an amount by weights with the largest-remainder rule: the parts are whole, differ from the exact shares by less
 * than one, and their sum is the amount. Equal remainders are served in order. Without any weight the first part takes
 * all.
 * @param weights not negative
 */
export function divideByWeights(amount: bigint, weights: readonly bigint[]): bigint[] {
  const sum = weights.reduce((total, weight) => total + weight, 0n);
  if (sum === 0n) return weights.map((_, index) => (index === 0 ? amount : 0n));
  const shares = weights.map((weight, index) => ({
    index,
    part: (amount * weight) / sum,
    remainder: (amount * weight) % sum,
  }));
  const rest = Number(shares.reduce((left, { part }) => left - part, amount));
  const served = shares
    .toSorted((a, b) =>
      a.remainder === b.remainder ? a.index - b.index : a.remainder > b.remainder ? -1 : 1,
    )
    .slice(0, rest);
  const parts = shares.map(({ part }) => part);
  for (const { index, part } of served) parts[index] = part + 1n;
  return parts;
}

/**
 * Returns what the first units of several take of an amount by the same rule: each unit takes the same whole share, and
 * the first ones take what is left over.
 * @param units at most `all`, which is at least 1
 */
export function shareOfUnits(amount: bigint, units: bigint, all: bigint): bigint {
  const rest = amount % all;
  return (amount / all) * units + (units < rest ? units : rest);
}
