import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { assertEtag } from "../../kernel/errors.ts";
import type { Order } from "../order-types.ts";
import { assertTransition } from "../state/transitions.ts";
import { timeOfChange } from "./apply-changes.ts";
import type { ChangeOptions } from "./change-options.ts";
import { openUnits, withUnits } from "./item-units.ts";
import { lockOrder } from "./lock-orders.ts";
import { releaseOpenUnits } from "./release-units.ts";

/** A request to cancel an order. */
export interface OrderCancellation {
  id: string;
  /** Empty to cancel any version. */
  etag: string;
  reason: string;
}

/**
 * Cancels an order: releases its units, reverses its purchases and releases its money. An order that is cancelled already stays as it is.
 * @throws AppError not_found, also for another customer's order; aborted for a stale etag;
 *   failed_precondition when the state forbids it
 */
export async function cancelOrder(
  options: ChangeOptions,
  tx: Tx,
  call: Call,
  { id, etag, reason }: OrderCancellation,
): Promise<Order> {
  const order = await lockOrder(options, tx, call, id);
  if (order.closing === "CANCELLED") return order;
  assertEtag("order", order, etag);
  assertTransition(order, "CANCEL");
  const now = timeOfChange(options.clock, order);
  const items = withUnits(order.items, openUnits(order), "cancelledQuantity");
  const set = { closing: "CANCELLED", items } as const;
  const [cancelled = order] = await releaseOpenUnits(options, tx, call, {
    reason: "CANCEL",
    orders: [order],
    changes: [{ order, transition: "CANCEL", set, reason, now }],
    now,
  });
  const [released = cancelled] = await options.payments.releaseExcess(tx, call, [cancelled]);
  return released;
}
