import { type RawBuilder, sql } from "kysely";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { type Parameter, prepare } from "../../infra/postgres/statement.ts";
import { type Backoff, backoffMs } from "../../kernel/async/backoff.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { applyChanges, type OrderChange, timeOfChange } from "../change/apply-changes.ts";
import { readOrders } from "../change/lock-orders.ts";

/** An EXPIRING order whose expiry this worker continues, until its lease ends. */
export interface TakenExpiry {
  orderId: string;
  /** How often a worker has taken it, this time included. */
  attempts: number;
}

/** Bounds of taking expiries. */
export interface TakingLimits {
  /** Maximum number of orders whose expiry begins, and of those whose expiry is continued. */
  batchSize: number;
  /** Time after which other workers may continue, in milliseconds. */
  leaseMs: number;
}

/** The rows of the index orders_expiring, without orders whose payment has failed after they were shipped. */
const CAN_EXPIRE = sql`expires_at is not null and closing = 'NONE' and payment_state in ('UNPAID', 'FAILED')
  and fulfillment_state = 'UNFULFILLED'`;

/**
 * Returns the time that decides whether an order has expired: the earlier one of the database's clock and the service's.
 * A clock that is ahead expires no order early while the other one is right; a clock that is behind delays expiries.
 */
const expiryTime = (now: Parameter) => sql`least(now(), ${now}::timestamptz)`;
const afterMs = (delayMs: RawBuilder<unknown> | Parameter) =>
  sql`now() + ${delayMs}::float8 * interval '1 ms'`;

// Orders that a caller has locked are left for a later round: this statement never waits, so that its order of locks
// does not matter.
const LOCK_DUE = prepare<[now: Date, limit: number], { id: string }>(
  (now, limit) => sql`
    select id from orders where ${CAN_EXPIRE} and expires_at <= ${expiryTime(now)}
    order by expires_at, id limit ${limit} for update skip locked`,
);
// A row that remained of an earlier expiry must not keep the other orders of the round from expiring.
const INSERT = prepare<[orderIds: readonly string[], leaseMs: number], object>(
  (orderIds, leaseMs) => sql`
    insert into order_expiry (order_id, attempts, retry_at)
    select order_id, 1, ${afterMs(leaseMs)} from unnest(${orderIds}::uuid[]) as order_id
    on conflict (order_id) do update set attempts = excluded.attempts, retry_at = excluded.retry_at`,
);
// A row of an order that is not EXPIRING is deleted, so that the payment of that order is not cancelled. The lock of the
// order decides: without it, the order could begin to expire meanwhile and then lack its row. Like LOCK_DUE, this never
// waits for an order.
const TAKE_OVER = prepare<[leaseMs: number, limit: number], { order_id: string; attempts: number }>(
  (leaseMs, limit) => sql`
    with due as materialized (
      select order_id, closing from order_expiry join orders on orders.id = order_id
      where retry_at <= now() order by retry_at limit ${limit} for update skip locked
    ),
    remnant as (
      delete from order_expiry using due where order_expiry.order_id = due.order_id and due.closing <> 'EXPIRING'
    )
    update order_expiry set attempts = attempts + 1, retry_at = ${afterMs(leaseMs)}
    from due where order_expiry.order_id = due.order_id and due.closing = 'EXPIRING'
    returning order_expiry.order_id, attempts`,
);
// With other attempts, another worker has taken the expiry after the lease of this one had ended.
const POSTPONE = prepare<
  [orderIds: readonly string[], attempts: readonly number[], delaysMs: readonly number[]],
  object
>(
  (orderIds, attempts, delaysMs) => sql`
    update order_expiry set retry_at = ${afterMs(sql`delay_ms`)}
    from unnest(${orderIds}::uuid[], ${attempts}::int[], ${delaysMs}::float8[]) as postponed (id, taken, delay_ms)
    where order_id = id and attempts = taken`,
);
const FIND_DELAY = prepare<[now: Date], { delay_ms: number | null }>(
  (now) => sql`
    select extract(epoch from least(
      (select expires_at from orders where ${CAN_EXPIRE} order by expires_at limit 1) - ${expiryTime(now)},
      (select retry_at from order_expiry order by retry_at limit 1) - now()
    ))::float8 * 1000 as delay_ms`,
);

/** Returns the time until an expiry is due, in milliseconds: 0 or less if one is, undefined if there is none. */
export async function findDelay(
  db: Pick<Database, "read">,
  call: Call,
  clock: Clock,
): Promise<number | undefined> {
  const [row] = await db.read(call, FIND_DELAY(clock.now()));
  return row?.delay_ms ?? undefined;
}

/**
 * Takes expiries for this worker: begins those of orders that were not paid in time, and continues those whose lease
 * or delay has ended, such as the ones of a worker that was killed. Rows that remained of earlier expiries are deleted.
 */
export async function takeExpiries(
  tx: Tx,
  call: Call,
  clock: Clock,
  { batchSize, leaseMs }: TakingLimits,
): Promise<TakenExpiry[]> {
  const takenOver = await tx.query(TAKE_OVER(leaseMs, batchSize));
  const due = await tx.query(LOCK_DUE(clock.now(), batchSize));
  const ids = due.map(({ id }) => id);
  if (ids.length > 0) {
    const orders = await readOrders(tx, ids);
    const changes = orders.map(
      (order): OrderChange => ({
        order,
        transition: "START_EXPIRY",
        set: { closing: "EXPIRING" },
        now: timeOfChange(clock, order),
      }),
    );
    await applyChanges(tx, call, changes);
    await tx.query(INSERT(ids, leaseMs));
  }
  return [
    ...takenOver.map(({ order_id: orderId, attempts }) => ({ orderId, attempts })),
    ...ids.map((orderId) => ({ orderId, attempts: 1 })),
  ];
}

/** Delays after failed attempts. */
const BACKOFF: Backoff = { firstMs: 5_000, maxMs: 600_000 };

/**
 * Ends the leases that this worker holds on expiries that could not be completed: they are due again after exponential
 * backoff with jitter.
 */
export async function postponeExpiries(tx: Tx, expiries: readonly TakenExpiry[]): Promise<void> {
  const delays = expiries.map(({ attempts }) => backoffMs(attempts, BACKOFF));
  await tx.query(
    POSTPONE(
      expiries.map(({ orderId }) => orderId),
      expiries.map(({ attempts }) => attempts),
      delays,
    ),
  );
}
