import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { assertEtag } from "../../kernel/errors.ts";
import { timeOfChange } from "../change/apply-changes.ts";
import type { ChangeOptions } from "../change/change-options.ts";
import { storedUnits } from "../change/event-details.ts";
import { assertDistinctItems, type ItemQuantity, selectUnits, withUnits } from "../change/item-units.ts";
import { lockOrder } from "../change/lock-orders.ts";
import { type ChangeTargets, removeUnits } from "../change/release-units.ts";
import type { Order } from "../order-types.ts";
import { assertTransition } from "../state/transitions.ts";

/** A request to record returned units of an order. */
export interface ItemReturn {
  id: string;
  /** Empty for any version of the order. */
  etag: string;
  items: readonly ItemQuantity[];
  reason: string;
  /** Whether the units can be sold again. */
  restock: boolean;
}

/** Dependencies of returning units. */
export type ReturnOptions = ChangeTargets & Pick<ChangeOptions, "clock" | "orderAccess">;

/**
 * Records that shipped units of an order were returned, and adds them to the stock on hand if they can be sold again.
 * @throws AppError not_found for an unknown order or item; aborted for a stale etag; invalid_argument for an item that is
 *   named twice; failed_precondition when the state forbids it, fewer units can be returned or more units would be on hand
 *   than the maximum
 */
export async function returnOrderItems(
  options: ReturnOptions,
  tx: Tx,
  call: Call,
  { id, etag, items, reason, restock }: ItemReturn,
): Promise<Order> {
  assertDistinctItems(items);
  const order = await lockOrder(options, tx, call, id);
  assertEtag("order", order, etag);
  assertTransition(order, "RETURN_ITEMS");
  const units = selectUnits(order, items, "shipped");
  const now = timeOfChange(options.clock, order);
  const set = { items: withUnits(order.items, units, "returnedQuantity") };
  const details = { items: storedUnits(units), restocked: restock };
  const [after = order] = await removeUnits(options, tx, call, {
    reason: restock ? "ORDER_RETURN" : undefined,
    removals: [{ order, units }],
    changes: [{ order, transition: "RETURN_ITEMS", set, reason, details, now }],
    now,
  });
  return after;
}
