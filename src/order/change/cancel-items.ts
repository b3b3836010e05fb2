import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { assertEtag } from "../../kernel/errors.ts";
import { completeOrder } from "../complete-order.ts";
import { fulfillmentStateOf, readFulfillments } from "../fulfillment/fulfillment.ts";
import type { Order } from "../order-types.ts";
import { isUnpaid } from "../state/order-state.ts";
import { assertTransition } from "../state/transitions.ts";
import { type OrderChange, timeOfChange } from "./apply-changes.ts";
import type { ChangeOptions } from "./change-options.ts";
import { storedUnits } from "./event-details.ts";
import { assertDistinctItems, type ItemQuantity, openUnits, selectUnits, withUnits } from "./item-units.ts";
import { lockOrder } from "./lock-orders.ts";
import { removeUnits } from "./release-units.ts";

/** A request to cancel units of an order. */
export interface ItemCancellation {
  id: string;
  /** Empty for any version of the order. */
  etag: string;
  items: readonly ItemQuantity[];
  reason: string;
}

/**
 * Cancels units of an order before their shipment, and releases them. The order is cancelled when no unit is left and
 * nothing is shipped, and paid when it was not and nothing is due any more.
 * @throws AppError not_found for an unknown order or item; aborted for a stale etag; invalid_argument for an item that is
 *   named twice; failed_precondition when the state forbids it or fewer units are left
 */
export async function cancelOrderItems(
  options: ChangeOptions,
  tx: Tx,
  call: Call,
  { id, etag, items, reason }: ItemCancellation,
): Promise<Order> {
  assertDistinctItems(items);
  const order = await lockOrder(options, tx, call, id);
  assertEtag("order", order, etag);
  assertTransition(order, "CANCEL_ITEMS");
  const units = selectUnits(order, items, "open");
  const now = timeOfChange(options.clock, order);
  const rest = completeOrder({ ...order, items: withUnits(order.items, units, "cancelledQuantity") });
  const isSettled = isNothingDue(rest);
  const set = { ...(await changeOf(tx, rest)), ...(isSettled && settlementOf(rest)) };
  const details = { items: storedUnits(units) };
  const [after = order] = await removeUnits(options, tx, call, {
    reason: "CANCEL",
    removals: [{ order, units }],
    settled: isSettled ? [rest] : [],
    changes: [{ order, transition: "CANCEL_ITEMS", set, reason, details, now }],
    now,
  });
  const [released = after] = await options.payments.releaseExcess(tx, call, [after]);
  await options.payments.requestCapture(tx, released, now);
  return released;
}

/** Returns whether an unpaid order has units left, but nothing to pay for them. */
function isNothingDue(order: Order): boolean {
  return isUnpaid(order.paymentState) && openUnits(order).length > 0 && order.amountDue.minorUnits === 0n;
}

/** Returns what changes of an unpaid order of which nothing is due any more, as of one that costs nothing. */
function settlementOf({ promotionId }: Order): OrderChange["set"] {
  return { paymentState: "PAID", salesRecorded: promotionId !== "" };
}

/** Returns what changes of an order. The rest of it may already be shipped, and also delivered. */
async function changeOf(tx: Tx, order: Order): Promise<OrderChange["set"]> {
  const { id, items } = order;
  if (openUnits(order).length > 0) return { items };
  if (order.fulfillmentState === "UNFULFILLED") return { items, closing: "CANCELLED" };
  const fulfillments = await readFulfillments(tx, id);
  const isDelivered = fulfillments.every(({ deliverTime }) => deliverTime !== undefined);
  return { items, fulfillmentState: fulfillmentStateOf(items, isDelivered) };
}
