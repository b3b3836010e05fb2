import { sql } from "kysely";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { MINUTE_MS } from "../../kernel/durations.ts";
import { AppError } from "../../kernel/errors.ts";
import { applyChanges, type OrderChange, timeOfChange } from "../change/apply-changes.ts";
import type { ChangeOptions } from "../change/change-options.ts";
import { openUnits, withUnits } from "../change/item-units.ts";
import { readOrders } from "../change/lock-orders.ts";
import { releaseOpenUnits } from "../change/release-units.ts";
import type { Order } from "../order-types.ts";
import { isAllowed } from "../state/transitions.ts";
import type { PaymentOutcome } from "./payment-cancellation.ts";

/** Dependencies of completing expiries. */
export interface CompletionOptions extends Omit<ChangeOptions, "orderAccess" | "payments"> {
  db: Database;
}

/** Longest wait for one lock, in milliseconds: callers wait for the locks that the transaction holds meanwhile. */
const LOCK_TIMEOUT_MS = 250;
/** Time limit of completing expiries after the first transaction, in milliseconds. */
const TIME_LIMIT_MS = 10_000;

/** Time for the record of a payment that was made to arrive, in milliseconds. The cancellation is repeated after it. */
const PAYMENT_RECORD_MS = 30 * MINUTE_MS;

const LOCK = prepare<[ids: readonly string[]], { id: string; now: string }>(
  (ids) => sql`
    select id, now() as now from orders where id = any(${ids}::uuid[]) and closing = 'EXPIRING' order by id for update`,
);
const DELETE = prepare<[ids: readonly string[]], object>(
  (ids) => sql`delete from order_expiry where order_id = any(${ids}::uuid[])`,
);

/**
 * Completes expiries in one transaction. If that fails, such as because another session has locked the stock of a
 * product, halves of them are completed by transactions of their own, so that one order does not keep the others from
 * expiring.
 * @param onFailure called for each order that was not completed
 * @throws AppError unavailable or cancelled: some may not have been tried
 */
export async function completeExpiries(
  options: CompletionOptions,
  call: Call,
  outcomes: ReadonlyMap<string, PaymentOutcome>,
  onFailure: (error: unknown, orderId: string) => void,
): Promise<void> {
  const endsAtMs = performance.now() + TIME_LIMIT_MS;
  const complete = async (part: readonly [orderId: string, PaymentOutcome][]): Promise<void> => {
    try {
      await options.db.transact(call, (tx) => completeBatch(options, tx, call, new Map(part)), {
        lockTimeoutMs: LOCK_TIMEOUT_MS,
      });
    } catch (error) {
      if (error instanceof AppError && (error.code === "unavailable" || error.code === "cancelled"))
        throw error;
      if (part.length === 1 || performance.now() > endsAtMs) {
        for (const [orderId] of part) onFailure(error, orderId);
        return;
      }
      const middle = Math.ceil(part.length / 2);
      await complete(part.slice(0, middle));
      await complete(part.slice(middle));
    }
  };
  if (outcomes.size > 0) await complete([...outcomes]);
}

/**
 * Releases the units and limits of orders whose payment was cancelled. Those that are paid get a new expire time: without
 * one, their units would stay reserved permanently if the payment is never recorded.
 */
async function completeBatch(
  options: CompletionOptions,
  tx: Tx,
  call: Call,
  outcomes: ReadonlyMap<string, PaymentOutcome>,
): Promise<void> {
  const { clock } = options;
  // Another worker may have completed some, after the lease of this one had ended.
  const locked = await tx.query(LOCK([...outcomes.keys()]));
  const ids = locked.map(({ id }) => id);
  const orders = await readOrders(tx, ids);
  const isExpired = (order: Order) => outcomes.get(order.id) === "cancelled" && isAllowed(order, "EXPIRE");
  const expired = orders.filter(isExpired);
  // After the time of both clocks that decide whether an order has expired.
  const latestMs = Math.max(clock.now().getTime(), ...locked.map(({ now }) => Date.parse(now)));
  const expireTime = new Date(latestMs + PAYMENT_RECORD_MS);
  const changes = orders.map((order): OrderChange => {
    const now = timeOfChange(clock, order);
    if (!isExpired(order)) {
      return { order, transition: "ABORT_EXPIRY", set: { closing: "NONE", expireTime }, now };
    }
    const items = withUnits(order.items, openUnits(order), "cancelledQuantity");
    return { order, transition: "EXPIRE", set: { closing: "EXPIRED", items }, now };
  });
  if (expired.length === 0) await applyChanges(tx, call, changes);
  else
    await releaseOpenUnits(options, tx, call, {
      reason: "EXPIRE",
      orders: expired,
      changes,
      now: clock.now(),
    });
  await tx.query(DELETE(ids));
}
