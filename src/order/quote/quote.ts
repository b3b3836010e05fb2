import type { Call } from "../../kernel/call.ts";
import type { PostalAddress } from "../address/postal-address.ts";
import type { OrderItem, OrderTotals, ShippingOption } from "../order-types.ts";

/** One product of a basket. */
export interface BasketLine {
  productId: string;
  /** In minor units of the basket's currency. */
  unitPrice: bigint;
  quantity: bigint;
  /** Empty for the standard class. */
  taxClass: string;
  /** Of one unit. */
  weightGrams: bigint;
}

/** What is to be quoted: products with their prices, all in one currency. */
export interface Basket {
  /** ISO 4217 code. */
  currencyCode: string;
  lines: readonly BasketLine[];
}

/** Tax and shipping of a basket. */
export interface Quote {
  /** Tax of each line in minor units, in the order of the basket. */
  lineTaxes: readonly bigint[];
  /** Whether the prices of lines and options include their taxes. */
  isTaxIncluded: boolean;
  shippingOptions: readonly ShippingOption[];
  /** Whether an order needs one of the options: it cannot be placed if there is none. */
  needsShippingOption: boolean;
}

/**
 * Returns the quote of a basket, synchronously and without side effects: it is called while rows are locked.
 * @throws StaleQuoterError when the prices of the basket are not those that the quoter was prepared with
 */
export type Quoter = (basket: Basket) => Quote;

/** What a quoter is prepared with. */
export interface QuoteRequest {
  address: PostalAddress;
  /** Reads the basket at its current prices, for providers that need it in advance. @throws AppError */
  readBasket(): Promise<Basket>;
}

/** Determines the tax and the shipping options of baskets. */
export interface QuoteProvider {
  /** Whether preparing calls another service, which a repeated request must not depend on. */
  readonly callsService: boolean;
  /** Reads what quotes for an address depend on besides prices. @throws AppError unavailable */
  prepare(call: Call, request: QuoteRequest): Promise<Quoter>;
}

/** An order with its prices, taxes and totals. */
export interface PricedBasket {
  /** ISO 4217 code of all amounts. */
  currencyCode: string;
  items: OrderItem[];
  totals: OrderTotals;
  shippingOptions: readonly ShippingOption[];
  /** The chosen one of the options. */
  shippingOption: ShippingOption | undefined;
  /** Whether an order with this quote needs one of the options. */
  needsShippingOption: boolean;
  /** The products with too few units in stock. An order has none. */
  unavailable: ReadonlySet<string>;
}
