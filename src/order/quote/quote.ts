import type { Call } from "../../kernel/call.ts";
import type { PostalAddress } from "../address/postal-address.ts";

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

/** A way to ship a basket. Amounts are in minor units of the basket's currency. */
export interface ShippingOption {
  id: string;
  name: string;
  price: bigint;
  /** Part of the price if prices include tax, otherwise on top of it. */
  tax: bigint;
  /** Days from the shipment to the delivery; 0 if unknown. */
  minDeliveryDays: number;
  maxDeliveryDays: number;
}

/** Tax and shipping of a basket. Amounts are in minor units of its currency. */
export interface Quote {
  /** Tax of each line, in the order of the basket. */
  lineTaxes: readonly bigint[];
  /** Whether the prices of lines and options include their taxes. */
  taxIncluded: boolean;
  shippingOptions: readonly ShippingOption[];
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
  /** Reads what quotes for an address depend on besides prices. @throws AppError unavailable */
  prepare(call: Call, request: QuoteRequest): Promise<Quoter>;
}

/** The prices of a basket have changed since its quoter was prepared. */
export class StaleQuoterError extends Error {
  override readonly name = "StaleQuoterError";
}
