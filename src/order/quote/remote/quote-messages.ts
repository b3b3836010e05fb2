import { z } from "zod";
import { storableText } from "../../../infra/postgres/storable-text.ts";
import { MAX_MINOR_UNITS } from "../../../kernel/money.ts";
import type { PostalAddress } from "../../address/postal-address.ts";
import type { Basket, Quote } from "../quote.ts";
import { addUpTotals } from "../totals.ts";

/** Maximum number of shipping options of a response. */
const MAX_OPTIONS = 20;

/** Whole minor units: they are below 2^53, so that JSON does not round them. */
const amount = z.int().min(0).max(Number(MAX_MINOR_UNITS));
const days = z.int().min(0).max(365).default(0);
const text = storableText.min(1).max(100);

const response = z.object({
  currencyCode: z.string(),
  taxIncluded: z.boolean(),
  lineTaxes: z.array(amount).max(100),
  shippingOptions: z
    .array(
      z.object({
        id: text,
        name: text,
        price: amount,
        tax: amount,
        minDeliveryDays: days,
        maxDeliveryDays: days,
      }),
    )
    .max(MAX_OPTIONS),
});

/** Returns the body of a request. Names and telephone numbers are not sent: no tax and no price depends on them. */
export function encodeRequest({ currencyCode, lines }: Basket, address: PostalAddress): string {
  const { countryCode, administrativeArea, locality, postalCode, addressLines } = address;
  return JSON.stringify({
    currencyCode,
    address: { countryCode, administrativeArea, locality, postalCode, addressLines },
    lines: lines.map(({ productId, unitPrice, quantity, taxClass, weightGrams }) => ({
      productId,
      unitPrice: Number(unitPrice),
      quantity: Number(quantity),
      taxClass,
      weightGrams: Number(weightGrams),
    })),
  });
}

/**
 * Returns the quote of a response.
 * @throws SyntaxError or TypeError that says what is wrong
 */
export function decodeResponse(body: string, basket: Basket): Quote {
  const parsed = response.safeParse(JSON.parse(body));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new TypeError(`${issue?.path.join(".")}: ${issue?.message}`);
  }
  const { currencyCode, taxIncluded, lineTaxes, shippingOptions } = parsed.data;
  const { lines } = basket;
  if (currencyCode !== basket.currencyCode) throw new TypeError("currencyCode: is not that of the request");
  if (lineTaxes.length !== lines.length) throw new TypeError("lineTaxes: must have one for each line");
  if (new Set(shippingOptions.map(({ id }) => id)).size < shippingOptions.length) {
    throw new TypeError("shippingOptions: have an id twice");
  }
  const quote = {
    lineTaxes: lineTaxes.map(BigInt),
    isTaxIncluded: taxIncluded,
    shippingOptions: shippingOptions.map(({ price, tax, ...option }) => ({
      ...option,
      price: { currencyCode, minorUnits: BigInt(price) },
      tax: { currencyCode, minorUnits: BigInt(tax) },
    })),
    needsShippingOption: true,
  };
  if (taxIncluded) assertIncluded(quote, basket);
  assertTotals(quote, basket);
  return quote;
}

/** @throws TypeError when a total is too large with the taxes of the quote, or with one of its options */
function assertTotals(quote: Quote, { lines }: Basket): void {
  const subtotal = lines.reduce((sum, { unitPrice, quantity }) => sum + unitPrice * quantity, 0n);
  const isTooLarge = [undefined, ...quote.shippingOptions].some(
    (option) => addUpTotals(subtotal, quote, option).total > MAX_MINOR_UNITS,
  );
  if (isTooLarge) throw new TypeError(`the total is more than ${MAX_MINOR_UNITS} minor units`);
}

/** @throws TypeError when a tax is more than the price that includes it */
function assertIncluded({ lineTaxes, shippingOptions }: Quote, { lines }: Basket): void {
  const isMore =
    lines.some(({ unitPrice, quantity }, index) => (lineTaxes[index] ?? 0n) > unitPrice * quantity) ||
    shippingOptions.some(({ price, tax }) => tax.minorUnits > price.minorUnits);
  if (isMore) throw new TypeError("a tax is more than the price that includes it");
}
