import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import { purchaseUserId } from "../ingestion/purchase-row.ts";

/** The purchases that a new order takes from the limits of its promotion: one for each of its items. */
export interface HeldOrder {
  orderId: string;
  promotionId: string;
  /** Empty for a guest. */
  customerId: string;
  purchases: number;
}

/** Held purchases of an order that return to the limits of its promotion. */
export interface HoldRelease {
  orderId: string;
  /** All or some of the purchases that the order holds. */
  purchases: number;
}

type Texts = readonly string[];

// Limits of a promotion never change, so that they can be read without its lock.
const HOLD = prepare<
  [orderIds: Texts, promotionIds: Texts, userIds: Texts, purchases: readonly number[]],
  object
>(
  (orderIds, promotionIds, userIds, purchases) => sql`
    with held as (
      insert into promotion_hold (order_id, promotion_id, user_id, purchases)
      select taken.* from unnest(
        ${orderIds}::uuid[], ${promotionIds}::uuid[], ${userIds}::text[], ${purchases}::int[]
      ) as taken (order_id, promotion_id, user_id, purchases)
      join promotion on promotion.id = taken.promotion_id
      where purchase_limit > 0 or purchase_limit_per_user > 0
      returning promotion_id, purchases
    )
    update promotion set held_purchases = held_purchases + added.purchases
    from (select promotion_id, sum(purchases) as purchases from held group by promotion_id) as added
    where id = added.promotion_id`,
);
const LOCK_PROMOTIONS = prepare<[orderIds: Texts], object>(
  (orderIds) => sql`
    select from promotion
    where id in (select promotion_id from promotion_hold where order_id = any(${orderIds}::uuid[]))
    order by id for no key update`,
);
// A release of more purchases than the order holds violates a constraint of the table.
const RELEASE = prepare<[orderIds: Texts, purchases: readonly (number | null)[]], object>(
  (orderIds, purchases) => sql`
    with release as (
      select hold.order_id, promotion_id, hold.purchases as held, coalesce(part.purchases, hold.purchases) as released
      from unnest(${orderIds}::uuid[], ${purchases}::int[]) as part (order_id, purchases)
        join promotion_hold as hold on hold.order_id = part.order_id
    ), ended as (
      delete from promotion_hold as hold using release where hold.order_id = release.order_id and held = released
    ), reduced as (
      update promotion_hold as hold set purchases = held - released
      from release where hold.order_id = release.order_id and held <> released
    )
    update promotion set held_purchases = held_purchases - returned.purchases
    from (select promotion_id, sum(released) as purchases from release group by promotion_id) as returned
    where id = returned.promotion_id`,
);

/**
 * Takes the purchases of new orders from the limits of their promotions. Those without limits hold nothing. The orders
 * are written, and promotions with limits are locked.
 */
export async function holdOrders(tx: Tx, orders: readonly HeldOrder[]): Promise<void> {
  if (orders.length === 0) return;
  await tx.query(
    HOLD(
      orders.map(({ orderId }) => orderId),
      orders.map(({ promotionId }) => promotionId),
      orders.map(purchaseUserId),
      orders.map(({ purchases }) => purchases),
    ),
  );
}

/**
 * Returns held purchases of locked orders to the limits of their promotions, which it locks in id order. Orders without
 * a hold are left out.
 */
export async function releaseHolds(tx: Tx, releases: readonly HoldRelease[]): Promise<void> {
  await release(
    tx,
    releases.map(({ orderId }) => orderId),
    releases.map(({ purchases }) => purchases),
  );
}

/** Ends all holds of orders like `releaseHolds`. */
export async function endHolds(tx: Tx, orderIds: Texts): Promise<void> {
  await release(
    tx,
    orderIds,
    orderIds.map(() => null),
  );
}

async function release(tx: Tx, orderIds: Texts, purchases: readonly (number | null)[]): Promise<void> {
  if (orderIds.length === 0) return;
  const locked = await tx.query(LOCK_PROMOTIONS(orderIds));
  // A second statement, which reads the holds after the locks.
  if (locked.length > 0) await tx.query(RELEASE(orderIds, purchases));
}
