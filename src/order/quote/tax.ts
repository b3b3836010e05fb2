/** Parts of a whole in which rates are given. */
const PPM = 1_000_000n;

/**
 * Returns the tax on an amount without tax, rounded half up to minor units.
 * @param ratePpm in parts per million
 */
export function addedTax(amount: bigint, ratePpm: bigint): bigint {
  return divideHalfUp(amount * ratePpm, PPM);
}

/**
 * Returns the tax that an amount includes, amount - amount / (1 + rate), rounded half up to minor units.
 * @param ratePpm in parts per million of the amount without tax
 */
export function includedTax(amount: bigint, ratePpm: bigint): bigint {
  return divideHalfUp(amount * ratePpm, PPM + ratePpm);
}

/** @param numerator not negative */
function divideHalfUp(numerator: bigint, denominator: bigint): bigint {
  return (2n * numerator + denominator) / (2n * denominator);
}
