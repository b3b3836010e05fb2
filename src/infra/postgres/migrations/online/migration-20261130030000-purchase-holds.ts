import { addConstraint, createIndex, dropIndex } from "../../online/online-schema.ts";
import type { OnlineSession } from "../../online/online-session.ts";
import { withTableLocks } from "../../online/table-locks.ts";

/**
 * Adds the purchases that unpaid orders hold, and whether a reversal changes the number of purchases. Rows of the previous
 * version do: a column with a constant default rewrites no row.
 */
export async function addPurchaseHolds(session: OnlineSession): Promise<void> {
  const { client } = session;
  await withTableLocks(session, { tables: ["promotion"], mode: "access exclusive" }, async () => {
    await client.query(
      "alter table promotion add column if not exists held_purchases bigint not null default 0",
    );
  });
  await addConstraint(session, {
    table: "promotion",
    name: "promotion_held_purchases_not_negative",
    definition: "check (held_purchases >= 0)",
  });
  await createHolds(session);
  await withTableLocks(session, { tables: ["purchase"], mode: "access exclusive" }, async () => {
    await client.query("alter table purchase add column if not exists counts boolean not null default true");
  });
  await addConstraint(session, {
    table: "purchase",
    name: "purchase_partial_reversal",
    definition: "check (counts or kind = 'REVERSAL')",
  });
  await createIndex(
    session,
    "purchase_order_unique",
    "on purchase (order_id, product_id, kind) where order_id is not null and counts",
    { isUnique: true },
  );
  await dropIndex(session, "purchase_order");
}

/** Creates the table of the holds. Its foreign keys lock the tables that they refer to, in the order of the orders. */
async function createHolds(session: OnlineSession): Promise<void> {
  const locks = { tables: ["promotion", "orders"], mode: "share row exclusive" } as const;
  await withTableLocks(session, locks, async () => {
    await session.client.query(`
      create table if not exists promotion_hold (
        order_id uuid not null,
        promotion_id uuid not null,
        user_id text not null,
        purchases int not null,
        primary key (order_id),
        constraint promotion_hold_purchases_positive check (purchases > 0),
        constraint promotion_hold_order_id_fk foreign key (order_id) references orders (id),
        constraint promotion_hold_promotion_id_fk foreign key (promotion_id) references promotion (id)
      )`);
    await session.client.query(
      "create index if not exists promotion_hold_user on promotion_hold (promotion_id, user_id)",
    );
  });
}
