import type { Call } from "../../kernel/call.ts";
import { actorOf } from "../change/actor.ts";
import { decidePlacements } from "./decide.ts";
import { type OrderInput, type PlacedOrder, toPlacement } from "./placement.ts";
import { readPlacements } from "./read-placements.ts";
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
}

/** A request to place an order. */
export interface OrderCreation {
  order: OrderInput;
  requestId: string;
  validateOnly: boolean;
}

/** Places an order for an owner of request_ids. @throws AppError as `Orders.create` does */
export type PlaceOrder = (call: Call, owner: string, creation: OrderCreation) => Promise<PlacedOrder>;

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
      actor: actorOf(call.principal),
    });
    if (!validateOnly) return strategy.place(call, placement);
    return options.db.dryRun(call, async (tx) => {
      const state = await readPlacements(options, tx, [placement], "none");
      return resultOf(decidePlacements([placement], state).outcomes);
    });
  };
}
