import { AppError, type StateViolation } from "../../kernel/errors.ts";
import type { PricedBasket } from "./quote.ts";

/** The quote of an order is not the one that the buyer saw. It carries the new one. */
export class QuoteChangedError extends AppError {
  readonly quote: PricedBasket;

  constructor(quote: PricedBasket, violation: StateViolation) {
    const { description } = violation;
    super("failed_precondition", `The quote has changed: ${description}. Show the new quote to the buyer.`, {
      reason: "QUOTE_CHANGED",
      preconditions: [violation],
    });
    this.name = "QuoteChangedError";
    this.quote = quote;
  }
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
