import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { DAY_MS } from "../../kernel/durations.ts";
import { assertEtag, invalidField } from "../../kernel/errors.ts";
import { assertPresent } from "../../kernel/fields.ts";
import { applyChanges, timeOfChange } from "../change/apply-changes.ts";
import type { ChangeOptions } from "../change/change-options.ts";
import { lockOrder } from "../change/lock-orders.ts";
import type { Order } from "../order-types.ts";
import { assertTransition, isAllowed } from "../state/transitions.ts";

/** A request to change the time at which an order expires. */
export interface ExpireTimeChange {
  id: string;
  /** Empty for any version of the order. */
  etag: string;
  expireTime: Date | undefined;
  /** Whether the order never expires, in place of a time. */
  neverExpires: boolean;
  reason: string;
}

/** Longest time until an order expires, in milliseconds. */
const MAX_DELAY_MS = 366 * DAY_MS;

/**
 * Sets the time at which an unpaid order expires. An order that expires at that time already stays as it is.
 * @throws AppError not_found; aborted for a stale etag; failed_precondition when the state forbids it;
 *   invalid_argument for a time that is not in the future, or too far away, and unless either a time or never is chosen
 */
export async function setOrderExpireTime(
  options: ChangeOptions,
  tx: Tx,
  call: Call,
  { id, etag, expireTime, neverExpires, reason }: ExpireTimeChange,
): Promise<Order> {
  // Without never_expires, a forgotten time would keep the order, and its units, forever.
  if (!neverExpires) assertPresent({ expire_time: expireTime?.toISOString() });
  else if (expireTime !== undefined)
    throw invalidField("never_expires", "cannot be true together with expire_time.");
  const order = await lockOrder(options, tx, call, id);
  const isRepeated = order.expireTime?.getTime() === expireTime?.getTime();
  if (isRepeated && isAllowed(order, "SET_EXPIRE_TIME")) return order;
  assertEtag("order", order, etag);
  assertTransition(order, "SET_EXPIRE_TIME");
  assertExpireTime(expireTime, options.clock.now());
  const [after = order] = await applyChanges(tx, call, [
    {
      order,
      transition: "SET_EXPIRE_TIME",
      set: { expireTime },
      reason,
      details: expireTime === undefined ? {} : { expireTime: expireTime.toISOString() },
      now: timeOfChange(options.clock, order),
    },
  ]);
  return after;
}

function assertExpireTime(expireTime: Date | undefined, now: Date): void {
  if (expireTime === undefined) return;
  const delayMs = expireTime.getTime() - now.getTime();
  if (delayMs > 0 && delayMs <= MAX_DELAY_MS) return;
  throw invalidField("expire_time", "the time must be in the future, at most 366 days from now.");
}
