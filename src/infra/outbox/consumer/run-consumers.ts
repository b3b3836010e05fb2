import { sql } from "kysely";
import { internalCall } from "../../../kernel/call.ts";
import type { Log } from "../../../kernel/log.ts";
import { createThrottledWarning } from "../../jobs/throttled-warning.ts";
import type { Database } from "../../postgres/postgres.ts";
import { createStatsLog } from "../../stats-log.ts";
import type { WakeUp } from "../wake-up.ts";
import type { OutboxConsumer } from "./consumer.ts";
import { type ConsumerCounters, startConsumerLoop } from "./consumer-loop.ts";
import type { ConsumerLag } from "./lag.ts";
import { createMaintenance, type MaintenanceCounters } from "./maintain-outbox.ts";

const DEFAULT_POLL_MS = 1_000;
const DEFAULT_MAINTENANCE_MS = 5_000;
const DEFAULT_CLOSE_GRACE_MS = 5_000;

export interface RunConsumersOptions {
  db: Database;
  wakeUp: Pick<WakeUp, "subscribe">;
  consumers: readonly OutboxConsumer<unknown>[];
  log: Log;
  /** Interval at which events of other processes are noticed, in milliseconds. Defaults to 1,000. */
  pollMs?: number;
  /** Interval of the maintenance of the outbox, in milliseconds. Defaults to 5,000. */
  maintenanceMs?: number;
  /** Size from which the active table is replaced, in bytes. Defaults to 32 MiB. */
  rotationBytes?: number;
}

/** The work of a consumer in this process, and how far it is behind in all of them. */
export interface ConsumerStats extends Readonly<ConsumerCounters> {
  /** The last measurement; undefined before the first one. */
  readonly lag: ConsumerLag | undefined;
}

/** The work of this process and the last measurement of the outbox. */
export interface OutboxStats extends Readonly<MaintenanceCounters> {
  /** Time for which a long transaction has kept consumers from reading events, in milliseconds. */
  readonly stalledMs: number;
  readonly consumers: ReadonlyMap<string, ConsumerStats>;
}

/** The consumers that run in this process. */
export interface RunningConsumers {
  stats(): OutboxStats;
  /** Waits for running batches, up to a time limit in milliseconds. Batches that take longer are rolled back. */
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
  const logStats = createStatsLog(log, "Outbox events applied");
  const maintenance = startMaintenance(options, () => {
    const events = loops.reduce((sum, { counters }) => sum + counters.events, 0);
    logStats(events, () => ({ ...stats(), consumers: Object.fromEntries(stats().consumers) }));
  });
  const stats = (): OutboxStats => ({
    ...maintenance.current.counters,
    stalledMs: maintenance.current.stalledMs,
    consumers: new Map(
      loops.map(({ name, counters }) => [
        name,
        { ...counters, lag: maintenance.current.lag?.consumers.get(name) },
      ]),
    ),
  });
  return {
    stats,
    async close(graceMs = DEFAULT_CLOSE_GRACE_MS) {
      unsubscribe();
      await Promise.all([maintenance.close(), ...loops.map((loop) => loop.close(graceMs))]);
    },
  };
}

/** Creates missing cursors at the horizon. A consumer that needs earlier events gets its cursor by a migration. */
async function createCursors(db: Database, consumers: readonly OutboxConsumer<unknown>[]): Promise<void> {
  const names = consumers.map(({ name }) => name);
  await db.transact(internalCall(), (tx) =>
    tx.query(sql`
      insert into outbox_cursor (consumer, epoch, xid, id)
      select name, epoch, pg_snapshot_xmin(pg_current_snapshot()), 0 from outbox_state, unnest(${names}::text[]) as name
      on conflict do nothing`),
  );
}

/** Runs the maintenance at an interval, one run at a time, and a function after each. */
function startMaintenance(options: RunConsumersOptions, onMeasured: () => void) {
  const { log, maintenanceMs = DEFAULT_MAINTENANCE_MS } = options;
  const closing = new AbortController();
  const current = createMaintenance({ ...options, call: internalCall(closing.signal) });
  const warn = createThrottledWarning(log);
  let timer: NodeJS.Timeout | undefined;
  let running = Promise.resolve();
  const schedule = () => {
    timer = setTimeout(() => {
      running = run();
    }, maintenanceMs);
  };
  const run = async () => {
    try {
      await current.run();
      onMeasured();
    } catch (error) {
      if (!closing.signal.aborted) warn({ err: error }, "Outbox maintenance failed; retrying");
    }
    if (!closing.signal.aborted) schedule();
  };
  schedule();
  return {
    current,
    async close() {
      closing.abort();
      clearTimeout(timer);
      await running;
    },
  };
}
