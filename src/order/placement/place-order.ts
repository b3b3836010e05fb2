import { withRetries } from "../../kernel/async/with-retries.ts";
import type { Call } from "../../kernel/call.ts";
import { actorOf } from "../change/actor.ts";
import { assertAddresses, prepareQuoter } from "../quote/prepare-quoter.ts";
import type { QuoteProvider, Quoter } from "../quote/quote.ts";
import { StaleQuoterError } from "../quote/quote-errors.ts";
import { decidePlacements } from "./decide.ts";
import { type OrderInput, type PlacedOrder, type Placement, toPlacement } from "./placement.ts";
import { isRepeated, readPlacements } from "./read-placements.ts";
import {
  createStockStrategy,
  resultOf,
  type StockStrategyName,
  type StrategyOptions,
} from "./stock-strategy.ts";

/** Dependencies of placing orders. */
export interface PlacementOptions extends StrategyOptions {
  stockStrategy: StockStrategyName;
  /** Time in which an order has to be paid, in seconds; 0: orders do not expire. */
  reservationSeconds: number;
  quotes: QuoteProvider;
}

/** A request to place an order. */
export interface OrderCreation {
  order: OrderInput;
  requestId: string;
  validateOnly: boolean;
}

/** Places an order for an owner of request_ids. @throws AppError as `Orders.create` does */
export type PlaceOrder = (call: Call, owner: string, creation: OrderCreation) => Promise<PlacedOrder>;

/** Attempts to place an order whose prices change between the preparation of its quote and the locks. */
const QUOTE_ATTEMPTS = 3;

/** The quoter of a repeated request, which is not called. */
const rejectQuote: Quoter = () => {
  throw new StaleQuoterError();
};

/** Creates the function that places orders. */
export function createPlaceOrder(options: PlacementOptions): PlaceOrder {
  const strategy = createStockStrategy(options.stockStrategy, options);
  const reservationSeconds = options.reservationSeconds || null;
  return async (call, owner, { order, requestId, validateOnly }) => {
    const { clientAddress } = call;
    const placement = toPlacement(order, {
      orderId: options.ids(),
      owner,
      requestId,
      clientAddress,
      reservationSeconds,
      actor: actorOf(call.principal, order.customerId),
      isAnonymous: call.principal.kind === "anonymous",
    });
    assertAddresses(placement, "order.");
    const place = async (quoted: Placement): Promise<PlacedOrder> => {
      if (!validateOnly) return strategy.place(call, quoted);
      return options.db.dryRun(call, async (tx) => {
        const state = await readPlacements(options, tx, [quoted], "none");
        return resultOf(decidePlacements([quoted], state).outcomes);
      });
    };
    if (placement.shippingAddress === undefined && placement.billingAddress === undefined) {
      return place(placement);
    }
    const prepare = async () => {
      // The earlier order is the response, whatever has become of the service and of the prices.
      const needsNoQuote = options.quotes.callsService && (await isRepeated(options, call, placement));
      return needsNoQuote ? rejectQuote : prepareQuoter(options, call, placement);
    };
    const placeQuoted = async () => place({ ...placement, quoter: await prepare() });
    return withRetries(placeQuoted, {
      attempts: QUOTE_ATTEMPTS,
      firstDelayMs: 0,
      isRetryable: (error) => error instanceof StaleQuoterError,
      signal: call.signal,
    });
  };
}
