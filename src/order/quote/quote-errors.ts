import { AppError, quoted, type StateViolation, truncated } from "../../kernel/errors.ts";
import type { PricedBasket } from "./quote.ts";

/** Maximum length of the ids of the offered options in a message, in UTF-16 units. */
const MAX_OFFERED_LENGTH = 200;

/** An order cannot be placed with its quote, which the error carries. */
export class QuoteError extends AppError {
  readonly quote: PricedBasket;

  constructor(quote: PricedBasket, reason: string, message: string, violation: StateViolation) {
    super("failed_precondition", message, { reason, preconditions: [violation] });
    this.name = "QuoteError";
    this.quote = quote;
  }
}

/**
 * Returns the error for a shipping option that is not among those of a quote.
 * @param field path of the option in the request
 */
export function optionNotOffered(quote: PricedBasket, optionId: string, field: string): QuoteError {
  const description = `the shipping option ${quoted(optionId)} is not offered for this address and these items`;
  const offered = truncated(quote.shippingOptions.map(({ id }) => id).join(", "), MAX_OFFERED_LENGTH);
  const advice = offered === "" ? "No option is offered." : `Choose one of these options: ${offered}.`;
  return new QuoteError(quote, "QUOTE_CHANGED", `T${description.slice(1)}. ${advice}`, {
    type: "SHIPPING_OPTION",
    subject: field,
    description,
  });
}

/** Returns the error for an order whose quote is not the one that the buyer saw. */
export function quoteChanged(quote: PricedBasket, violation: StateViolation): QuoteError {
  const message = `The quote has changed: ${violation.description}. Show the new quote to the buyer.`;
  return new QuoteError(quote, "QUOTE_CHANGED", message, violation);
}

/** @throws QuoteError when the order is to be shipped, and has no shipping option or none is offered */
export function assertShipping(quote: PricedBasket): void {
  const { needsShippingOption, shippingOption, shippingOptions } = quote;
  if (!needsShippingOption || shippingOption !== undefined) return;
  if (shippingOptions.length > 0) {
    const description = "an order with a shipping address needs one of the shipping options of its quote";
    throw new QuoteError(quote, "SHIPPING_OPTION_REQUIRED", `No shipping option: ${description}.`, {
      type: "SHIPPING_OPTION",
      subject: "order.shipping_option",
      description,
    });
  }
  const description = "no shipping option is offered for this address and these items";
  throw new QuoteError(quote, "SHIPPING_NOT_AVAILABLE", `The order cannot be shipped: ${description}.`, {
    type: "SHIPPING_ADDRESS",
    subject: "order.shipping_address",
    description,
  });
}

/** The prices of a basket have changed since its quoter was prepared: it has to be prepared again. */
export class StaleQuoterError extends AppError {
  constructor() {
    super("aborted", "Prices changed while the order was being placed. Send the same request again.", {
      reason: "CONTENTION",
    });
    this.name = "StaleQuoterError";
  }
}
