import { createThrottledWarning } from "../../infra/jobs/throttled-warning.ts";
import { createStatsLog } from "../../infra/stats-log.ts";
import { type Loop, startLoop } from "../../kernel/async/start-loop.ts";
import { type Call, internalCall } from "../../kernel/call.ts";
import type { Log } from "../../kernel/log.ts";
import { type CompletionOptions, completeExpiries } from "./complete-expiries.ts";
import { cancelPayments, type PaymentCancellation, withoutPayments } from "./payment-cancellation.ts";
import { findDelay, postponeExpiries, takeExpiries } from "./take-expiries.ts";

/** Dependencies of the expiry of orders. */
export interface ExpiryOptions extends CompletionOptions {
  /** Defaults to one that finds no payment to cancel. */
  cancelPayment?: PaymentCancellation;
  log: Log;
}

/**
 * Maximum number of orders that a round begins to expire, and of those that it takes over. More would lock the stock of
 * their products for longer, for which orders that are placed meanwhile wait.
 */
const BATCH_SIZE = 100;
/**
 * Longer than the limits of a round, so that one worker at a time continues an expiry. If a worker dies, buyers can
 * neither pay nor cancel until the lease ends. A round that a slow database delays further completes nothing twice.
 */
const LEASE_MS = 30_000;
const CANCELLATION_LIMITS = { callMs: 10_000, batchMs: 15_000 };
/** Interval at which changed expire times are noticed, in milliseconds. */
const POLL_MS = 2_000;
/** Minimum interval of rounds that are not full, in milliseconds, so that orders that expire one by one share some. */
const MIN_INTERVAL_MS = 200;

/** The result of a round. */
export interface SweepResult {
  taken: number;
  /** Orders that stay EXPIRING and are tried again later. */
  postponed: number;
}

/** Expires orders that were not paid in time. Several processes may do this concurrently. */
export interface ExpirySweep {
  /**
   * Does one round: begins and completes the expiry of as many orders as a batch has.
   * @throws AppError unavailable without the database; other workers continue the expiries when the leases have ended
   */
  run(call: Call): Promise<SweepResult>;
  /** Repeats rounds while orders are due, until it is closed. */
  start(): Loop;
}

/** Creates the expiry of orders. */
export function createExpirySweep(options: ExpiryOptions): ExpirySweep {
  const { db, clock, log, cancelPayment = withoutPayments } = options;
  const warn = createThrottledWarning(log);
  const run = async (call: Call): Promise<SweepResult> => {
    const limits = { batchSize: BATCH_SIZE, leaseMs: LEASE_MS };
    const taken = await db.transact(call, (tx) => takeExpiries(tx, call, clock, limits));
    const failed = new Set<string>();
    const onFailure = (error: unknown, orderId: string) => {
      failed.add(orderId);
      if (!call.signal.aborted) warn({ err: error, orderId }, "Expiry of an order failed; retrying later");
    };
    const ids = taken.map(({ orderId }) => orderId);
    const outcomes = await cancelPayments(cancelPayment, call, ids, CANCELLATION_LIMITS, onFailure);
    await completeExpiries(options, call, outcomes, onFailure);
    const postponed = taken.filter(({ orderId }) => failed.has(orderId));
    if (postponed.length > 0) await db.transact(call, (tx) => postponeExpiries(tx, postponed));
    return { taken: taken.length, postponed: postponed.length };
  };
  return { run, start: () => startSweep(options, run) };
}

function startSweep({ db, clock, log }: ExpiryOptions, run: ExpirySweep["run"]): Loop {
  const warn = createThrottledWarning(log);
  const counters = { taken: 0, postponed: 0 };
  const logStats = createStatsLog(log, "Expiries of orders processed");
  return startLoop({
    async run(signal) {
      const call = internalCall(signal);
      // Nothing is written while no order is due.
      const delayMs = await findDelay(db, call, clock);
      if (delayMs === undefined || delayMs > 0) return Math.min(delayMs ?? POLL_MS, POLL_MS);
      const { taken, postponed } = await run(call);
      counters.taken += taken;
      counters.postponed += postponed;
      logStats(counters.taken, () => ({ ...counters }));
      // Callers have locked all orders that are due.
      if (taken === 0) return POLL_MS;
      return taken < BATCH_SIZE ? MIN_INTERVAL_MS : 0;
    },
    onFailure: (error, failuresInARow) =>
      warn({ err: error, failuresInARow }, "Expiry of orders failed; retrying"),
  });
}
