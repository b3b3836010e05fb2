import type { Money } from "../../../kernel/money.ts";

/** Returns an amount in minor units with its currency, such as "1990 EUR"; empty for none. */
export function formatMoney(money: Money | undefined): string {
  return money === undefined ? "" : `${money.minorUnits} ${money.currencyCode}`;
}
