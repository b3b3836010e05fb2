import { type BatchWriter, createBatchWriter } from "../../../infra/batch-writer/batch-writer.ts";
import type { Database } from "../../../infra/postgres/postgres.ts";
import type { Clock } from "../../../kernel/clock.ts";
import type { Ids } from "../../../kernel/ids.ts";
import type { Log } from "../../../kernel/log.ts";
import { insertEvents, type NewEvent } from "./event-rows.ts";

/** Stores webhooks in shared transactions. The result is whether a webhook was not stored before. */
export type EventWriter = BatchWriter<NewEvent, boolean>;

/** Dependencies and limits of storing webhooks. */
export interface EventWriterOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  log: Log;
  /** Upper bound of one statement of a batch, in milliseconds. */
  statementTimeoutMs: number;
  /** Longest time that a webhook waits for a batch, in milliseconds. */
  waitMs: number;
}

/** Bounds the memory of bodies too: the server receives fewer webhooks at the same time. */
const LIMITS = { items: 128, keys: 128, maxInFlight: 2, waiting: 1_000 };
/** Another replica that stores the same webhook holds its row for one batch. */
const LOCK_TIMEOUT_MS = 1_000;

/** Creates the writer of webhooks. */
export function createEventWriter({
  db,
  ids,
  clock,
  log,
  statementTimeoutMs,
  waitMs,
}: EventWriterOptions): EventWriter {
  return createBatchWriter<NewEvent, void, boolean>({
    db,
    audit: { ids, clock },
    statementTimeoutMs,
    lockTimeoutMs: LOCK_TIMEOUT_MS,
    log,
    limits: { ...LIMITS, waitMs },
    work: {
      keysOf: (event) => [keyOf(event.gateway, event.id)],
      lock: async () => {},
      async write(tx, _, events) {
        const rows = await tx.query(insertEvents(events));
        const stored = new Set(rows.map(({ gateway, event_id: id }) => keyOf(gateway, id)));
        // Of the deliveries of a webhook that share a batch, the first one has stored it.
        return events.map(({ gateway, id }) => ({ result: stored.delete(keyOf(gateway, id)) }));
      },
      // A row that another transaction has not committed cannot be seen.
      findLocked: async () => new Set<string>(),
    },
  });
}

function keyOf(gateway: string, id: string): string {
  return `${gateway} ${id}`;
}
