import { createSalesConsumer } from "./catalog/sales/sales-consumer.ts";
import { refreshWordRanges } from "./catalog/search/word-range-refresh.ts";
import { rollUpCounts } from "./catalog/stats/count-rollup.ts";
import type { Identity } from "./identity/identity.ts";
import type { InvalidationBus } from "./infra/cache/invalidation-bus.ts";
import type { Jobs } from "./infra/jobs/jobs.ts";
import { invalidationQueue, paymentRequestQueue } from "./infra/jobs/queues.ts";
import { runConsumers } from "./infra/outbox/consumer/run-consumers.ts";
import { createInvalidationConsumer } from "./infra/outbox/invalidation/invalidation-consumer.ts";
import type { WakeUp } from "./infra/outbox/wake-up.ts";
import { purgeRequests } from "./infra/postgres/idempotency/purge-requests.ts";
import type { Database } from "./infra/postgres/postgres.ts";
import { internalCall } from "./kernel/call.ts";
import { MINUTE_MS } from "./kernel/durations.ts";
import type { Log } from "./kernel/log.ts";
import type { Orders } from "./order/order.ts";
import type { Payments } from "./order/payment/payments.ts";
import { purgeEvents } from "./order/payment/webhook/purge-events.ts";

/** Dependencies of the worker. */
export interface WorkerOptions {
  db: Database;
  wakeUp: WakeUp;
  jobs: Jobs;
  bus: Pick<InvalidationBus, "ensureAllInvalidated" | "ensureInvalidated" | "invalidate">;
  identity: Pick<Identity, "purgeExpired">;
  orders: Pick<Orders, "startExpiry">;
  payments: Pick<Payments, "runRequest" | "startLoops">;
  log: Log;
}

/**
 * Interval at which product counts are rolled up and expired rows are deleted, in milliseconds. Reads add up the counts
 * that are not rolled up yet, so a longer interval makes them slower.
 */
const MAINTENANCE_INTERVAL_MS = MINUTE_MS;

/**
 * Runs the jobs of the service, the consumers of the outbox, the expiry of orders and the loops of payments in this process;
 * other processes may run them too.
 * @returns a function that stops all of that except for the queues, which stop with `jobs`
 */
export async function startWorker(options: WorkerOptions): Promise<() => Promise<void>> {
  const { db, wakeUp, jobs, bus, identity, orders, payments, log } = options;
  const consumers = await runConsumers({
    db,
    wakeUp,
    log,
    consumers: [createInvalidationConsumer(bus), createSalesConsumer(log)],
  });
  await jobs.work(invalidationQueue, async ({ data: { tags, generation } }) => {
    const isComplete = await bus.ensureInvalidated(tags, Buffer.from(generation, "base64"));
    if (!isComplete) throw new Error("Redis did not accept the invalidation");
  });
  await jobs.work(paymentRequestQueue, payments.runRequest);
  const loops = [orders.startExpiry(), ...payments.startLoops()];
  const stopping = new AbortController();
  const call = internalCall(stopping.signal);
  const runMaintenance = async () => {
    try {
      await rollUpCounts(db, call);
      await identity.purgeExpired(call);
      await purgeRequests(db, call);
      await purgeEvents(db, call);
      await refreshWordRanges(db, call);
    } catch (error) {
      if (!stopping.signal.aborted) log.warn({ err: error }, "Maintenance failed; product counts stay exact");
    }
  };
  let running = Promise.resolve();
  const timer = setInterval(() => {
    running = running.then(runMaintenance);
  }, MAINTENANCE_INTERVAL_MS);
  return async () => {
    clearInterval(timer);
    stopping.abort();
    await Promise.all([running, consumers.close(), ...loops.map((loop) => loop.close())]);
  };
}
