import { sql } from "kysely";
import type { OutboxConsumer } from "../../../src/infra/outbox/consumer/consumer.ts";
import type { Tx } from "../../../src/infra/postgres/postgres.ts";
import { numbers } from "./outbox-fixture.ts";

/** Returns a consumer that inserts the published numbers into `applied`. */
export function createRecordingConsumer(
  options: Partial<OutboxConsumer<number>> = {},
): OutboxConsumer<number> {
  return {
    name: "recorder",
    topics: [numbers],
    delayMs: 0,
    limits: { rows: 1_000_000, ageMs: 3_600_000 },
    apply: async (tx, events) =>
      insertNumbers(
        tx,
        events.map(({ data }) => data),
      ),
    ...options,
  };
}

export async function insertNumbers(tx: Tx, values: readonly number[]): Promise<void> {
  await tx.query(sql`insert into applied (value) select unnest(${values}::bigint[])`);
}
