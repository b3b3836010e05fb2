import { AppError, quoted, type StateViolation, truncated } from "../../kernel/errors.ts";
import type { PricedBasket } from "./quote.ts";

/** Maximum length of the ids of the offered options in a message, in UTF-16 units. */
const MAX_OFFERED_LENGTH = 200;

/** The quote of an order is not the one that the buyer saw. It carries the new one. */
export class QuoteChangedError extends AppError {
  readonly quote: PricedBasket;

  constructor(quote: PricedBasket, message: string, violation: StateViolation) {
    super("failed_precondition", message, { reason: "QUOTE_CHANGED", preconditions: [violation] });
    this.name = "QuoteChangedError";
    this.quote = quote;
  }
}

/** Returns the error for a shipping option that is not among those of a quote. */
export function optionNotOffered(quote: PricedBasket, optionId: string): QuoteChangedError {
  const description = `the shipping option ${quoted(optionId)} is not offered for this address and these items`;
  const offered = truncated(quote.shippingOptions.map(({ id }) => id).join(", "), MAX_OFFERED_LENGTH);
  const advice = offered === "" ? "No option is offered." : `Choose one of these options: ${offered}.`;
  return new QuoteChangedError(quote, `T${description.slice(1)}. ${advice}`, {
    type: "SHIPPING_OPTION",
    subject: "order.shipping_option",
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
