import { AppError } from "../../../kernel/errors.ts";
import type { Money } from "../../../kernel/money.ts";

/**
 * Currencies in which an amount of Stripe differs from the minor units of ISO 4217.
 * Source: https://docs.stripe.com/currencies#minor-units
 */
interface CurrencyRule {
  /** Stripe's units in one minor unit. */
  multiplier?: bigint;
  /** Minor units in one of Stripe's units. Amounts must be multiples of it. */
  divisor?: bigint;
  /** Minor units of which an amount must be a multiple, although Stripe counts single ones. */
  step?: bigint;
  isUnsupported?: boolean;
}

/** Without decimals in ISO 4217, but Stripe counts hundredths. */
const HUNDREDTHS: CurrencyRule = { multiplier: 100n };
/** With three decimals, of which the card networks take two. */
const TENS: CurrencyRule = { step: 10n };
/** With more than two decimals and no documented form at Stripe: charges could be wrong by powers of ten. */
const UNSUPPORTED: CurrencyRule = { isUnsupported: true };

const RULES: ReadonlyMap<string, CurrencyRule> = new Map([
  ["ISK", HUNDREDTHS],
  ["UGX", HUNDREDTHS],
  ["BHD", TENS],
  ["JOD", TENS],
  ["KWD", TENS],
  ["OMR", TENS],
  ["TND", TENS],
  // With two decimals in ISO 4217, without decimals at Stripe.
  ["MGA", { divisor: 100n }],
  ["IQD", UNSUPPORTED],
  ["LYD", UNSUPPORTED],
  ["CLF", UNSUPPORTED],
  ["UYW", UNSUPPORTED],
]);

/** The largest amount of Stripe's units in any currency: twelve digits. Most currencies have a smaller limit, which Stripe checks. */
const MAX_AMOUNT = 10n ** 12n - 1n;

/**
 * Returns an amount in Stripe's units.
 * @throws AppError failed_precondition AMOUNT_NOT_CHARGEABLE for an amount or a currency that Stripe cannot charge
 */
export function toStripeAmount({ currencyCode, minorUnits }: Money): number {
  const { multiplier = 1n, divisor = 1n, step = divisor, isUnsupported } = RULES.get(currencyCode) ?? {};
  if (isUnsupported) {
    throw notChargeable(`Stripe does not charge ${currencyCode}. Use another currency.`);
  }
  if (minorUnits <= 0n) throw notChargeable("The amount is 0: there is nothing to charge.");
  if (minorUnits % step !== 0n) {
    throw notChargeable(
      `Stripe charges ${currencyCode} in multiples of ${step} minor units. Adjust the amount.`,
    );
  }
  const amount = (minorUnits * multiplier) / divisor;
  if (amount > MAX_AMOUNT)
    throw notChargeable("The amount is too large for Stripe. Split it into several orders.");
  return Number(amount);
}

/**
 * Returns an amount that Stripe states, in minor units.
 * @param currency in lower case
 * @throws RangeError when the amount has a fraction of a minor unit
 */
export function fromStripeAmount(amount: number, currency: string): Money {
  const currencyCode = currency.toUpperCase();
  const { multiplier = 1n, divisor = 1n } = RULES.get(currencyCode) ?? {};
  const units = BigInt(amount) * divisor;
  if (units % multiplier !== 0n) {
    throw new RangeError(`Stripe states ${amount} ${currencyCode}, which is a fraction of a minor unit.`);
  }
  return { currencyCode, minorUnits: units / multiplier };
}

function notChargeable(message: string): AppError {
  return new AppError("failed_precondition", message, { reason: "AMOUNT_NOT_CHARGEABLE" });
}
