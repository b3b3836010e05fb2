import { AppError } from "./errors.ts";

/** An amount in the minor unit of an ISO 4217 currency. */
export interface Money {
  currencyCode: string;
  minorUnits: bigint;
}

/** The most that one amount may be, 10^15 minor units: below 2^53, so that no JSON reader rounds it. */
export const MAX_MINOR_UNITS = 10n ** 15n;

/** Throws INVALID_ARGUMENT when a computed amount passes the most that an amount may be. */
export function assertAmount(minorUnits: bigint, field: string): void {
  if (minorUnits > MAX_MINOR_UNITS) {
    throw new AppError("invalid", `${field}: the amount is too large. Split it into several.`, {
      reason: "AMOUNT_TOO_LARGE",
      fields: [{ field, description: `must be at most ${MAX_MINOR_UNITS} minor units` }],
    });
  }
}
