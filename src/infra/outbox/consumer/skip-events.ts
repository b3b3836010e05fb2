import { sql } from "kysely";
import type { Call } from "../../../kernel/call.ts";
import type { Database } from "../../postgres/postgres.ts";
import { advanceCursor, lockConsumer } from "./apply-batch.ts";
import type { OutboxConsumer } from "./consumer.ts";

/**
 * Moves a consumer to the horizon and runs its `skip`, which replaces the effect of the dropped events.
 * @returns false if another process runs the consumer
 */
export async function skipEvents(
  db: Database,
  call: Call,
  consumer: Pick<OutboxConsumer<unknown>, "name" | "skip">,
): Promise<boolean> {
  return db.transact(call, async (tx) => {
    if (!(await lockConsumer(tx, consumer.name))) return false;
    const [horizon] = await tx.query(sql<{ epoch: number; xid: string }>`
      select epoch, pg_snapshot_xmin(pg_current_snapshot())::text as xid from outbox_state`);
    if (horizon === undefined) return false;
    // After the horizon was read: all dropped events are committed by now.
    await consumer.skip?.(tx);
    await advanceCursor(tx, consumer.name, { ...horizon, id: "0" });
    return true;
  });
}
