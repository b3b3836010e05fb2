import { vi } from "vitest";
import type { TestDatabase } from "../stores/database.ts";

/**
 * Waits until consumers may read all events that are committed. Transactions of other tests delay that, because all
 * databases of a server share the horizon.
 */
export async function waitForHorizon(database: TestDatabase): Promise<void> {
  const unfinished = `select from (
    select xid from outbox_1 union all select xid from outbox_2 union all select xid from outbox_3
  ) as outbox where xid >= pg_snapshot_xmin(pg_current_snapshot())`;
  await vi.waitFor(
    async () => {
      if ((await database.query(unfinished)).length > 0) throw new Error("events are above the horizon");
    },
    { timeout: 60_000, interval: 10 },
  );
}
