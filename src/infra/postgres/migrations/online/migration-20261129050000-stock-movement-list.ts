import { createIndex } from "../../online/online-schema.ts";
import type { OnlineSession } from "../../online/online-session.ts";

/** Adds the index for lists of the stock ledger without a product. Orders do not write to it. */
export async function indexMovements(session: OnlineSession): Promise<void> {
  await createIndex(
    session,
    "stock_movement_created",
    "on stock_movement (created_at, id) where order_id is null",
  );
}
