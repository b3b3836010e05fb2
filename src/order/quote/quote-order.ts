import type { Catalog, OrderedProduct } from "../../catalog/catalog.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import { availableUnits, type Inventory, type StockLine } from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError, notFound, type StateViolation } from "../../kernel/errors.ts";
import type { PostalAddress } from "../address/postal-address.ts";
import { addUpLines } from "../placement/placement.ts";
import { assertAddresses, prepareQuoter, type QuoterOptions, readProducts } from "./prepare-quoter.ts";
import { type BasketFields, priceBasket } from "./price-basket.ts";
import type { PricedBasket } from "./quote.ts";

/** A request for the prices of an order that is not placed. */
export interface OrderQuoteRequest {
  /** Lines of the same product are added up. */
  items: readonly StockLine[];
  /** Undefined for an order that is not shipped. */
  shippingAddress: PostalAddress | undefined;
  /** Determines the tax of an order that is not shipped. */
  billingAddress: PostalAddress | undefined;
  /** Empty for none. */
  shippingOptionId: string;
}

/** Dependencies of quoting orders. */
export interface OrderQuoteOptions extends QuoterOptions {
  db: Database;
  catalog: Catalog;
  inventory: Inventory;
}

const FIELDS: BasketFields = { items: "items", shippingOption: "shipping_option_id" };

/**
 * Returns the prices, shipping options and taxes of an order, without placing it or reserving its units.
 * @throws AppError not_found for an unknown product; failed_precondition for a deleted product or several currencies;
 *   invalid_argument for an unknown country, too many units of a product or too large an amount; QuoteError when
 *   the shipping option is not offered
 */
export async function quoteOrder(
  options: OrderQuoteOptions,
  call: Call,
  { items, ...request }: OrderQuoteRequest,
): Promise<PricedBasket> {
  const lines = addUpLines(items, "items");
  assertAddresses(request, "");
  const { shippingAddress, billingAddress, shippingOptionId } = request;
  const ids = lines.map(({ productId }) => productId);
  const { db, inventory } = options;
  const [products, levels] = await Promise.all([
    readProducts(options, call, lines),
    inventory.read({ query: (statement) => db.read(call, statement) }, ids),
  ]);
  assertSold(lines, products);
  const catalog = { findOrdered: async () => products };
  const quoter = await prepareQuoter({ ...options, catalog }, call, {
    shippingAddress,
    billingAddress,
    lines,
  });
  const unavailable = lines.filter(({ productId, quantity }) => {
    const level = levels.get(productId);
    return level === undefined || availableUnits(level) < quantity;
  });
  const ofUnavailable = new Set(unavailable.map(({ productId }) => productId));
  const basket = { lines, quoter, shippingOptionId, unavailable: ofUnavailable, fields: FIELDS };
  return priceBasket(basket, products);
}

/** @throws AppError not_found for an unknown product; failed_precondition that lists each deleted product */
function assertSold(lines: readonly StockLine[], products: ReadonlyMap<string, OrderedProduct>): void {
  const violations: StateViolation[] = [];
  for (const { productId } of lines) {
    const product = products.get(productId);
    if (product === undefined) throw notFound("product", productId);
    if (product.isActive) continue;
    const description = `${product.sku} is no longer sold`;
    violations.push({ type: "DELETED", subject: `products/${productId}`, description });
  }
  if (violations.length === 0) return;
  const descriptions = violations.map(({ description }) => description).join("; ");
  throw new AppError("failed_precondition", `Cannot be ordered: ${descriptions}.`, {
    reason: "PRODUCT_DELETED",
    preconditions: violations,
  });
}
