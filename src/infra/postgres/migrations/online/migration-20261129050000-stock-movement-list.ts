import { createIndex } from "../../online/online-schema.ts";
import type { OnlineSession } from "../../online/online-session.ts";

/** Adds the indexes for lists of the stock ledger by reason. Orders do not write to them. */
export async function indexMovements(session: OnlineSession): Promise<void> {
  await createIndex(
    session,
    "stock_movement_product_reason",
    "on stock_movement (product_id, reason, created_at, id) where reason <> 'ORDER'",
  );
  await createIndex(
    session,
    "stock_movement_reason",
    "on stock_movement (reason, created_at, id) where order_id is null",
  );
}
