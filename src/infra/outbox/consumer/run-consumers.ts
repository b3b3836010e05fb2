import { sql } from "kysely";
import { internalCall } from "../../../kernel/call.ts";
import type { Log } from "../../../kernel/log.ts";
import type { Database } from "../../postgres/postgres.ts";
import type { WakeUp } from "../wake-up.ts";
import type { OutboxConsumer } from "./consumer.ts";
import { type ConsumerCounters, startConsumerLoop } from "./consumer-loop.ts";

const DEFAULT_POLL_MS = 1_000;
const DEFAULT_CLOSE_GRACE_MS = 5_000;

export interface RunConsumersOptions {
  db: Database;
  wakeUp: Pick<WakeUp, "subscribe">;
  consumers: readonly OutboxConsumer<unknown>[];
  log: Log;
  /** Interval at which events of other processes are noticed, in milliseconds. Defaults to 1,000. */
  pollMs?: number;
}

/** The consumers that run in this process. */
export interface RunningConsumers {
  /** Counters of this process by the name of the consumer. */
  counters(): ReadonlyMap<string, Readonly<ConsumerCounters>>;
  /** Waits for running batches, up to a time limit. Batches that take longer are rolled back. */
  close(graceMs?: number): Promise<void>;
}

/** Runs consumers of the outbox in this process. Other processes may run them too. */
export async function runConsumers(options: RunConsumersOptions): Promise<RunningConsumers> {
  const { db, wakeUp, consumers, log, pollMs = DEFAULT_POLL_MS } = options;
  await createCursors(db, consumers);
  const loops = consumers.map((consumer) => startConsumerLoop({ db, consumer, log, pollMs }));
  const unsubscribe = wakeUp.subscribe(() => {
    for (const loop of loops) loop.wake();
  });
  return {
    counters: () => new Map(loops.map(({ counters }, index) => [consumers[index]?.name ?? "", counters])),
    async close(graceMs = DEFAULT_CLOSE_GRACE_MS) {
      unsubscribe();
      await Promise.all(loops.map((loop) => loop.close(graceMs)));
    },
  };
}

/** Creates missing cursors at the end of the outbox. A consumer that needs earlier events gets its cursor by a migration. */
async function createCursors(db: Database, consumers: readonly OutboxConsumer<unknown>[]): Promise<void> {
  const names = consumers.map(({ name }) => name);
  await db.transact(internalCall(), (tx) =>
    tx.query(sql`
      insert into outbox_cursor (consumer, epoch, xid, id)
      select name, epoch, pg_snapshot_xmin(pg_current_snapshot()), 0 from outbox_state, unnest(${names}::text[]) as name
      on conflict do nothing`),
  );
}
