import type { OrderedProduct } from "../../catalog/catalog.ts";
import type { StockLine } from "../../inventory/inventory.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import { assertAmount, type Money } from "../../kernel/money.ts";
import type { OrderItem } from "../order-types.ts";
import type { Basket, PricedBasket, Quote, Quoter } from "./quote.ts";
import { optionNotOffered } from "./quote-errors.ts";
import { totalsOf } from "./totals.ts";

/** Paths of the fields of a basket in a request, which errors name. */
export interface BasketFields {
  items: string;
  shippingOption: string;
}

/** What to price. */
export interface BasketRequest {
  /** Each product once. */
  lines: readonly StockLine[];
  /** Undefined for an order without an address: no tax and no shipping. */
  quoter: Quoter | undefined;
  /** Paths of the fields in the request. */
  fields: BasketFields;
  /** Empty for none. */
  shippingOptionId: string;
  /** The products with too few units in stock. None by default. */
  unavailable?: ReadonlySet<string>;
}

const NO_QUOTE: Quote = {
  lineTaxes: [],
  isTaxIncluded: false,
  shippingOptions: [],
  needsShippingOption: false,
};
const NONE: ReadonlySet<string> = new Set();

/**
 * Prices lines at the current prices of their products.
 * @throws AppError not_found for an unknown product; failed_precondition for several currencies; invalid_argument for too
 *   large an amount; QuoteError when the shipping option is not offered; StaleQuoterError
 */
export function priceBasket(
  { lines, quoter, fields, shippingOptionId, unavailable = NONE }: BasketRequest,
  products: ReadonlyMap<string, OrderedProduct>,
): PricedBasket {
  const items = lines.map((line, index) => priceLine(line, index, products));
  const currencyCode = singleCurrency(items.map(({ unitPrice }) => unitPrice));
  const subtotal = items.reduce((sum, item) => sum + item.totalPrice.minorUnits, 0n);
  assertAmount(subtotal, fields.items);
  const quote = quoter?.(basketOf(lines, products)) ?? NO_QUOTE;
  const { shippingOptions, needsShippingOption } = quote;
  const shippingOption = shippingOptions.find(({ id }) => id === shippingOptionId);
  const totals = totalsOf(fields.items, subtotal, quote, shippingOption);
  const priced = {
    currencyCode,
    items: quoter === undefined ? items : withTaxes(items, quote),
    totals,
    shippingOptions,
    shippingOption,
    needsShippingOption,
    unavailable,
  };
  if (shippingOptionId !== "" && shippingOption === undefined) {
    throw optionNotOffered(priced, shippingOptionId, fields.shippingOption);
  }
  return priced;
}

/**
 * Returns the basket of lines at the current prices of their products.
 * @throws AppError not_found for an unknown product; failed_precondition for several currencies
 */
export function basketOf(lines: readonly StockLine[], products: ReadonlyMap<string, OrderedProduct>): Basket {
  const ordered = lines.map(({ productId, quantity }) => {
    const { price, taxClass, weightGrams } = findProduct(products, productId);
    return { productId, price, quantity, taxClass, weightGrams };
  });
  return {
    currencyCode: singleCurrency(ordered.map(({ price }) => price)),
    lines: ordered.map(({ price, ...line }) => ({ ...line, unitPrice: price.minorUnits })),
  };
}

function priceLine(
  { productId, quantity }: StockLine,
  index: number,
  products: ReadonlyMap<string, OrderedProduct>,
): OrderItem {
  const { sku, name, price: unitPrice } = findProduct(products, productId);
  return {
    id: String(index + 1),
    productId,
    sku,
    name,
    unitPrice,
    quantity,
    totalPrice: { ...unitPrice, minorUnits: unitPrice.minorUnits * quantity },
    tax: { ...unitPrice, minorUnits: 0n },
    cancelledQuantity: 0n,
    fulfilledQuantity: 0n,
    returnedQuantity: 0n,
  };
}

function withTaxes(items: readonly OrderItem[], { lineTaxes }: Quote): OrderItem[] {
  return items.map((item, index) => ({ ...item, tax: { ...item.tax, minorUnits: lineTaxes[index] ?? 0n } }));
}

function findProduct(products: ReadonlyMap<string, OrderedProduct>, productId: string): OrderedProduct {
  const product = products.get(productId);
  if (product === undefined) throw notFound("product", productId);
  return product;
}

function singleCurrency(prices: readonly Money[]): string {
  const currencies = [...new Set(prices.map(({ currencyCode }) => currencyCode))].sort();
  const [currency = ""] = currencies;
  if (currencies.length <= 1) return currency;
  const description = `its products are priced in ${currencies.join(" and ")}; place one order for each currency`;
  throw new AppError("failed_precondition", `An order has one currency: ${description}.`, {
    reason: "SEVERAL_CURRENCIES",
    preconditions: [{ type: "CURRENCY", subject: "order", description }],
  });
}
