import { AppError } from "./errors.ts";

/** An amount of money. */
export interface Money {
  /** ISO 4217 code. */
  currencyCode: string;
  /** The amount in the currency's smallest unit, such as cents. */
  minorUnits: bigint;
}

/** The largest amount, 10^15 minor units. It is below 2^53, so that JSON parsers do not round it. */
export const MAX_MINOR_UNITS = 10n ** 15n;

const CURRENCIES: ReadonlySet<string> = new Set(Intl.supportedValuesOf("currency"));

/** Returns whether a currency has this code (ISO 4217), in capital letters. */
export function isCurrency(code: string): boolean {
  return CURRENCIES.has(code);
}

/**
 * @param problem what is too large, and what to do
 * @throws AppError invalid_argument when a computed amount is larger than `MAX_MINOR_UNITS`
 */
export function assertAmount(
  minorUnits: bigint,
  field: string,
  problem = "the amount is too large. Split it into several.",
): void {
  if (minorUnits > MAX_MINOR_UNITS) {
    throw new AppError("invalid_argument", `${field}: ${problem}`, {
      reason: "AMOUNT_TOO_LARGE",
      fields: [{ field, description: `must be at most ${MAX_MINOR_UNITS} minor units` }],
    });
  }
}
