import { mapConcurrent } from "../../kernel/async/map-concurrent.ts";
import type { Call } from "../../kernel/call.ts";

/** The outcome of cancelling a payment: it can no longer be made, or it was made before. */
export type PaymentOutcome = "cancelled" | "paid";

/**
 * Cancels the payment that an order waits for, so that it can no longer be made. It is called outside of transactions,
 * and may be called several times for an order, by several workers concurrently: all calls return the same outcome. An
 * error means that the outcome is unknown; the call is repeated later.
 */
export type PaymentCancellation = (call: Call, orderId: string) => Promise<PaymentOutcome>;

/** Cancels the payments of orders that can only be paid by hand: there is none to cancel. */
export const withoutPayments: PaymentCancellation = async () => "cancelled";

/** Time limits of cancellations, in milliseconds. */
export interface CancellationLimits {
  /** Of one call. */
  callMs: number;
  /** Of all calls of a batch. */
  batchMs: number;
}

/** Maximum number of calls at the same time. */
const CONCURRENCY = 20;

/**
 * Cancels the payments of orders.
 * @param onFailure called for each order whose outcome is unknown
 * @returns the outcomes by order id; orders whose outcome is unknown are absent
 */
export async function cancelPayments(
  cancelPayment: PaymentCancellation,
  call: Call,
  orderIds: readonly string[],
  { callMs, batchMs }: CancellationLimits,
  onFailure: (error: unknown, orderId: string) => void,
): Promise<Map<string, PaymentOutcome>> {
  const outcomes = new Map<string, PaymentOutcome>();
  const batch = withDeadline(call, batchMs);
  await mapConcurrent(each(orderIds), CONCURRENCY, async (orderId) => {
    try {
      outcomes.set(orderId, await untilDeadline(batch, callMs, (limited) => cancelPayment(limited, orderId)));
    } catch (error) {
      onFailure(error, orderId);
    }
  });
  return outcomes;
}

function* each<T>(items: readonly T[]): Generator<T> {
  yield* items;
}

/** Returns the same call with a time limit. */
function withDeadline(call: Call, limitMs: number): Call {
  return {
    ...call,
    signal: AbortSignal.any([call.signal, AbortSignal.timeout(limitMs)]),
    deadlineAtMs: performance.now() + limitMs,
  };
}

/**
 * Runs work with a time limit. Work that ignores the signal of its call is not awaited longer.
 * @throws the reason of the signal: a TimeoutError after the limit
 */
async function untilDeadline<T>(call: Call, limitMs: number, work: (call: Call) => Promise<T>): Promise<T> {
  call.signal.throwIfAborted();
  const limited = withDeadline(call, limitMs);
  const aborted = Promise.withResolvers<never>();
  limited.signal.addEventListener("abort", () => aborted.reject(limited.signal.reason), { once: true });
  return Promise.race([work(limited), aborted.promise]);
}
