import type { Catalog, OrderedProduct } from "../../catalog/catalog.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { StockLine } from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError } from "../../kernel/errors.ts";
import { assertAddress, type PostalAddress } from "../address/postal-address.ts";
import { basketOf } from "./price-basket.ts";
import type { QuoteProvider, Quoter } from "./quote.ts";

/** Dependencies of preparing quoters. */
export interface QuoterOptions {
  db: Pick<Database, "read">;
  catalog: Pick<Catalog, "findOrdered">;
  quotes: QuoteProvider;
}

/** The addresses of an order, each of which it may lack. */
export interface OrderAddresses {
  /** Undefined for an order that is not shipped. It determines the tax otherwise. */
  shippingAddress: PostalAddress | undefined;
  /** Determines the tax of an order that is not shipped. */
  billingAddress: PostalAddress | undefined;
}

/** What is to be quoted. */
export interface QuoterRequest extends OrderAddresses {
  lines: readonly StockLine[];
}

/** Returns the products of lines as they are now, by id, outside of a transaction. */
export function readProducts(
  { db, catalog }: Pick<QuoterOptions, "db" | "catalog">,
  call: Call,
  lines: readonly StockLine[],
): Promise<Map<string, OrderedProduct>> {
  const ids = lines.map(({ productId }) => productId);
  return catalog.findOrdered({ query: (statement) => db.read(call, statement) }, ids);
}

/**
 * Prepares the quoter of an order.
 * @returns undefined for an order without an address, which has no tax and no shipping
 * @throws AppError not_found for an unknown product, if the provider reads the prices in advance
 */
export async function prepareQuoter(
  options: QuoterOptions,
  call: Call,
  { shippingAddress, billingAddress, lines }: QuoterRequest,
): Promise<Quoter | undefined> {
  const address = shippingAddress ?? billingAddress;
  if (address === undefined) return undefined;
  const readBasket = async () => basketOf(lines, await readProducts(options, call, lines));
  const quoter = await options.quotes.prepare(call, { address, readBasket });
  if (shippingAddress !== undefined) return quoter;
  return (basket) => ({ ...quoter(basket), shippingOptions: [], needsShippingOption: false });
}

/**
 * Verifies the addresses of an order and that it has one to ship to if it has a shipping option.
 * @param path of the fields in the request, such as `order.`
 * @throws AppError invalid_argument
 */
export function assertAddresses(
  { shippingAddress, billingAddress, shippingOptionId }: OrderAddresses & { shippingOptionId: string },
  path: string,
): void {
  assertAddress(shippingAddress, `${path}shipping_address`);
  assertAddress(billingAddress, `${path}billing_address`);
  if (shippingOptionId === "" || shippingAddress !== undefined) return;
  const field = `${path}shipping_address`;
  throw new AppError("invalid_argument", `Required but missing: ${field}. A shipping option needs it.`, {
    reason: "FIELD_REQUIRED",
    fields: [{ field, description: "is required for a shipping option" }],
  });
}
