import type { Call } from "../../../kernel/call.ts";
import { AppError } from "../../../kernel/errors.ts";
import type { Log } from "../../../kernel/log.ts";
import { createThrottledWarning } from "../../jobs/throttled-warning.ts";
import type { Database } from "../../postgres/postgres.ts";
import type { OutboxConsumer, OutboxLimits } from "./consumer.ts";
import { findBlockingTransaction, isTooFarBehind, measureLag, type OutboxLag } from "./lag.ts";
import { rotateOutbox } from "./rotate-outbox.ts";
import { skipEvents } from "./skip-events.ts";

/** Limits of cursors whose consumer this version does not have. */
const UNKNOWN_LIMITS: OutboxLimits = { rows: 1_000_000, ageMs: 60_000 };
/** Time without progress of the horizon from which a warning is logged, in milliseconds. */
const HORIZON_LIMIT_MS = 10_000;

export interface MaintenanceCounters {
  rotations: number;
  /** Number of times that a consumer dropped events because it was too far behind. */
  skips: number;
}

/** Keeps the outbox small and watches its consumers. */
export interface OutboxMaintenance {
  readonly counters: Readonly<MaintenanceCounters>;
  /** The last measurement; undefined before the first one. */
  readonly lag: OutboxLag | undefined;
  /** Time since the horizon has stopped while events wait, in milliseconds. */
  readonly stalledMs: number;
  /** Measures, warns, skips events and rotates the tables, each as needed. */
  run(): Promise<void>;
}

export interface MaintenanceOptions {
  db: Database;
  call: Call;
  consumers: readonly OutboxConsumer<unknown>[];
  log: Log;
  /** Defaults to 10,000. */
  horizonLimitMs?: number;
  /** Size from which the active table is replaced, in bytes. Defaults to 32 MiB. */
  rotationBytes?: number | undefined;
  /** A clock in milliseconds. Defaults to the monotonic one. */
  nowMs?: () => number;
}

export function createMaintenance({
  db,
  call,
  consumers,
  log,
  horizonLimitMs = HORIZON_LIMIT_MS,
  rotationBytes,
  nowMs = () => performance.now(),
}: MaintenanceOptions): OutboxMaintenance {
  const counters: MaintenanceCounters = { rotations: 0, skips: 0 };
  const byName = new Map(consumers.map((consumer) => [consumer.name, consumer]));
  const warnings = new Map<string, Log["warn"]>();
  let lag: OutboxLag | undefined;
  let stalledSinceMs: number | undefined;
  let stalledMs = 0;

  /** Logs a warning, throttled by its subject. */
  function warn(subject: string, fields: Record<string, unknown>, message: string): void {
    const throttled = warnings.get(subject) ?? createThrottledWarning(log);
    warnings.set(subject, throttled);
    throttled(fields, message);
  }

  async function watchHorizon(
    before: OutboxLag | undefined,
    { horizon, isWaiting }: OutboxLag,
  ): Promise<void> {
    if (!isWaiting || horizon !== before?.horizon) stalledSinceMs = undefined;
    else stalledSinceMs ??= nowMs();
    stalledMs = stalledSinceMs === undefined ? 0 : nowMs() - stalledSinceMs;
    if (stalledSinceMs === undefined || stalledMs < horizonLimitMs) return;
    const transaction = await findBlockingTransaction(db, call);
    const fields = { horizon, stalledMs: Math.round(stalledMs), transaction };
    warn("horizon", fields, "Outbox consumers were delayed by a long transaction");
  }

  async function watchConsumers(current: OutboxLag): Promise<void> {
    for (const [name, { rows, ageMs }] of current.consumers) {
      const consumer = byName.get(name);
      if (!isTooFarBehind({ rows, ageMs }, consumer?.limits ?? UNKNOWN_LIMITS)) continue;
      const fields = { consumer: name, rows, ageMs: Math.round(ageMs), isKnown: consumer !== undefined };
      if (consumer?.skip === undefined) warn(name, fields, "Outbox consumer fell behind");
      else await skip(consumer, fields);
    }
  }

  async function skip(consumer: OutboxConsumer<unknown>, fields: Record<string, unknown>): Promise<void> {
    try {
      if (!(await skipEvents(db, call, consumer))) return;
      counters.skips += 1;
      warn(consumer.name, fields, "Outbox consumer fell behind and skipped events");
    } catch (error) {
      warn(consumer.name, { err: error, ...fields }, "Outbox consumer fell behind and could not skip events");
    }
  }

  async function rotate(): Promise<boolean> {
    try {
      return await rotateOutbox(db, call, { minBytes: rotationBytes });
    } catch (error) {
      // A transaction has locked the next table. The next run tries again.
      if (error instanceof AppError && error.code === "aborted") return false;
      throw error;
    }
  }

  return {
    counters,
    get lag() {
      return lag;
    },
    get stalledMs() {
      return stalledMs;
    },
    async run() {
      const before = lag;
      lag = await measureLag(db, call);
      await watchHorizon(before, lag);
      await watchConsumers(lag);
      if (await rotate()) counters.rotations += 1;
    },
  };
}
