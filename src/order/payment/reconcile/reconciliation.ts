import { createThrottledWarning } from "../../../infra/jobs/throttled-warning.ts";
import { GatewayError, type PaymentGateway } from "../../../infra/payment/payment-gateway.ts";
import { createStatsLog } from "../../../infra/stats-log.ts";
import { mapConcurrent } from "../../../kernel/async/map-concurrent.ts";
import { type Loop, startLoop } from "../../../kernel/async/start-loop.ts";
import { type Call, internalCall } from "../../../kernel/call.ts";
import { SECOND_MS } from "../../../kernel/durations.ts";
import { type CheckedPayment, type CheckReason, READ_CHECKED, takeChecks } from "./check-rows.ts";
import { type GiveUpOptions, giveUp, insertDiscrepancy } from "./give-up.ts";
import { queryGateway } from "./query-gateway.ts";

/** The result of a round. */
export interface ReconciliationResult {
  /** Payments about which the gateway was queried. */
  checked: number;
  /** Those without a response. */
  failed: number;
}

/** Queries the gateway about payments in doubt, and about the sums of those that are settled. */
export interface Reconciliation {
  /** Queries the gateway about the payments that are due. Several processes may do this concurrently. */
  run(call: Call): Promise<ReconciliationResult>;
  /** Repeats rounds until the loop is closed. */
  start(): Loop;
}

/** Dependencies of the reconciliation. */
export interface ReconciliationOptions extends GiveUpOptions {
  gateway: PaymentGateway;
  /** Time limit of one call of the gateway, in milliseconds. */
  timeoutMs: number;
}

/** Maximum number of payments of a round, and so of queries in a second. */
const BATCH_SIZE = 50;
/** Minimum interval of rounds, in milliseconds. */
const INTERVAL_MS = SECOND_MS;
/** Maximum number of queries at the same time. */
const CONCURRENCY = 8;
/** Queries about a payment in doubt before it is given up, in about two hours. */
const MAX_DOUBT_CHECKS = 12;

/** Creates the reconciliation. */
export function createReconciliation(options: ReconciliationOptions): Reconciliation {
  const { db, gateway, clock, log } = options;
  const warn = createThrottledWarning(log);
  const take = async (call: Call): Promise<CheckedPayment[]> => {
    const taken = await db.transact(call, async (tx) => {
      const takeReason = (reason: CheckReason, limit: number) =>
        tx.query(takeChecks(gateway.name, reason, clock.now(), limit));
      const doubtful = await takeReason("DOUBT", BATCH_SIZE);
      return [...doubtful, ...(await takeReason("SETTLE", BATCH_SIZE - doubtful.length))];
    });
    return taken.length === 0 ? [] : db.read(call, READ_CHECKED(taken.map(({ id }) => id)));
  };
  const run = async (call: Call): Promise<ReconciliationResult> => {
    const payments = await take(call);
    let failed = 0;
    await mapConcurrent(each(payments), CONCURRENCY, async (payment) => {
      try {
        await checkPayment(options, call, payment);
      } catch (error) {
        failed += 1;
        const { id: paymentId, checks, check_reason: reason } = payment;
        if (!call.signal.aborted)
          warn({ err: error, paymentId, checks, reason }, "Payment not reconciled; retrying later");
      }
    });
    return { checked: payments.length, failed };
  };
  return { run, start: () => startRounds(options, run) };
}

/** Queries the gateway about a payment and applies its response. @throws GatewayError or AppError: it is queried again later */
async function checkPayment(
  options: ReconciliationOptions,
  call: Call,
  payment: CheckedPayment,
): Promise<void> {
  const { gateway, reports, clock, timeoutMs, log } = options;
  const { id: paymentId, check_reason: reason, checks } = payment;
  // It was changed after it was taken.
  if (reason === null) return;
  const signal = AbortSignal.any([call.signal, AbortSignal.timeout(timeoutMs)]);
  try {
    const result = await queryGateway(gateway, payment, { signal, timeoutMs }, clock.now());
    await reports.apply({ gateway: gateway.name, ...result, paymentId });
  } catch (error) {
    if (error instanceof GatewayError && error.kind === "CONTRADICTION") {
      log.error({ err: error, paymentId }, "Gateway contradicted itself about a payment");
      await insertDiscrepancy(options, call, payment, "WRONG_PAYMENT", error.message);
    }
    if (reason === "DOUBT" && checks >= MAX_DOUBT_CHECKS && error instanceof GatewayError) {
      await giveUp(options, call, payment);
      return;
    }
    throw error;
  }
}

function startRounds({ log }: ReconciliationOptions, run: Reconciliation["run"]): Loop {
  const warn = createThrottledWarning(log);
  const counters = { checked: 0, failed: 0 };
  const logStats = createStatsLog(log, "Payments reconciled");
  return startLoop({
    async run(signal) {
      const { checked, failed } = await run(internalCall(signal));
      counters.checked += checked;
      counters.failed += failed;
      logStats(counters.checked, () => ({ ...counters }));
      return INTERVAL_MS;
    },
    onFailure: (error, failuresInARow) =>
      warn({ err: error, failuresInARow }, "Reconciliation of payments failed; retrying"),
  });
}

function* each<T>(items: readonly T[]): Generator<T> {
  yield* items;
}
