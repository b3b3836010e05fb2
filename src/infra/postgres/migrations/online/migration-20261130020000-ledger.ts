import { createIndex, dropIndex } from "../../online/online-schema.ts";
import { hasColumn, type OnlineSession } from "../../online/online-session.ts";
import { withTableLocks } from "../../online/table-locks.ts";

/** The constraints of the ledger that change or are new. Rows of the previous version satisfy them. */
const CONSTRAINTS = {
  stock_movement_reason_known: `
    reason in ('INITIAL', 'ORDER', 'CANCEL', 'EXPIRE', 'SHIP', 'ORDER_RETURN', 'RECOUNT', 'RECEIVED', 'DAMAGED',
      'RETURNED', 'CORRECTION')`,
  stock_movement_order_known: `
    (reason in ('ORDER', 'CANCEL', 'EXPIRE', 'SHIP', 'ORDER_RETURN')) = (order_id is not null)`,
  stock_movement_sequence_known: `
    case when order_id is null then order_sequence is null
      when order_sequence is null then reason in ('ORDER', 'CANCEL') else order_sequence >= 1 end`,
  stock_movement_account_known: `
    case reason
      when 'ORDER' then on_hand_delta = 0 and reserved_delta > 0
      when 'CANCEL' then on_hand_delta = 0 and reserved_delta < 0
      when 'EXPIRE' then on_hand_delta = 0 and reserved_delta < 0
      when 'SHIP' then on_hand_delta < 0 and reserved_delta = on_hand_delta
      when 'ORDER_RETURN' then on_hand_delta > 0 and reserved_delta = 0
      else reserved_delta = 0 end`,
};

/**
 * Adds the movements by which orders expire, ship and return units, and the sequence of the order's event to its unique
 * key: an order may ship or return units of a product several times. Replicas of the previous version write rows without
 * a sequence.
 */
export async function addOrderMovements(session: OnlineSession): Promise<void> {
  const { client } = session;
  if (!(await hasColumn(session, "stock_movement", "order_sequence"))) {
    await withTableLocks(session, { tables: ["stock_movement"], mode: "access exclusive" }, async () => {
      const changes = Object.entries(CONSTRAINTS).flatMap(([name, condition]) => [
        `drop constraint if exists ${name}`,
        `add constraint ${name} check (${condition}) not valid`,
      ]);
      await client.query(`alter table stock_movement add column order_sequence int, ${changes.join(", ")}`);
    });
  }
  for (const name of Object.keys(CONSTRAINTS)) {
    // Does nothing for a valid constraint.
    await client.query(`alter table stock_movement validate constraint ${name}`);
  }
  await createIndex(
    session,
    "stock_movement_order_event_unique",
    `on stock_movement (order_id, product_id, reason, order_sequence) nulls not distinct where order_id is not null`,
    { isUnique: true },
  );
  await dropIndex(session, "stock_movement_order_unique");
}
