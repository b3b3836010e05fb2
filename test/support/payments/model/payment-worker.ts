import { onTestFinished } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { openJobs } from "../../../../src/infra/jobs/jobs.ts";
import { withOutbox } from "../../../../src/infra/outbox/outbox.ts";
import type { CaptureMethod } from "../../../../src/infra/payment/payment-gateway.ts";
import { openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { systemClock } from "../../../../src/kernel/clock.ts";
import { createIds } from "../../../../src/kernel/ids.ts";
import { createPageTokens } from "../../../../src/kernel/page.ts";
import { createReportWriter } from "../../../../src/order/ledger/report-writer.ts";
import { createPaymentHooks } from "../../../../src/order/payment/payment-hooks.ts";
import { createPayments } from "../../../../src/order/payment/payments.ts";
import { createPaymentCancellation } from "../../../../src/order/payment/reconcile/payment-cancellation.ts";
import { createReconciliation } from "../../../../src/order/payment/reconcile/reconciliation.ts";
import { createEnqueueRequests } from "../../../../src/order/payment/request/request-rows.ts";
import { createTracker } from "../../../../src/tracker/tracker.ts";
import { silentLog } from "../../log.ts";
import { endLeases, openExpiryWorker, setExpiry } from "../../orders/expiry-worker.ts";
import { placementOptions } from "../../orders/placement-options.ts";
import type { TestDatabase } from "../../stores/database.ts";
import type { UnreliableGateway } from "../unreliable-gateway.ts";
import type { PaymentShop } from "./payment-shop.ts";

/** A worker that runs the jobs of payments, the reconciliation and the expiry of orders when a test lets it. */
export type PaymentWorker = Pick<PaymentShop, "runJobs" | "reconcile" | "expire">;

const TIMEOUT_MS = 8_000;
const log = silentLog;
const clock = systemClock;

/** Opens a worker with connections of its own. They are closed when the test is finished. */
export async function openPaymentWorker(
  database: TestDatabase,
  gateway: UnreliableGateway,
  capture: CaptureMethod,
): Promise<PaymentWorker> {
  const { url } = database;
  const limits = { poolMax: 6, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  const plain = await openPostgres({ url, entities, log, ...limits });
  const ids = createIds();
  const jobs = await openJobs({ url, workers: 0, ids, log });
  onTestFinished(async () => {
    await jobs.close();
    await plain.close();
  });
  const db = withOutbox(plain, { notify: () => {} });
  const tokens = createPageTokens(Buffer.alloc(32), clock);
  const shared = { db, ids, clock, tokens, log, gateway, timeoutMs: TIMEOUT_MS };
  const { orderTokens, statementTimeoutMs, waitMs } = placementOptions;
  const ofPayments = {
    ...shared,
    orderTokens,
    statementTimeoutMs,
    waitMs,
    tracker: createTracker(shared),
    enqueueRequests: createEnqueueRequests(jobs),
    capturesInParts: gateway.capturesInParts,
  };
  const reports = createReportWriter(ofPayments);
  const { orders, run: expire } = await openExpiryWorker(url, {
    cancelPayment: createPaymentCancellation({ ...shared, reports }),
    payments: createPaymentHooks(ofPayments),
  });
  const { get: getOrder, cancel: cancelOrder } = orders;
  const { runRequest } = createPayments({ ...ofPayments, reports, capture, getOrder, cancelOrder });
  const reconciliation = createReconciliation({ ...shared, reports, getOrder, cancelOrder });
  const findJobs = () =>
    database.query<{ id: string; request: string }>(
      `select id, data ->> 'requestId' as request from pgboss.job
       where name = 'payment-request' and state in ('created', 'retry') order by created_on, id`,
    );
  return {
    async runJobs() {
      for (const { id, request } of await findJobs()) {
        const { signal } = new AbortController();
        const isDone = await runRequest({ id, data: { requestId: request }, attempt: 1, signal }).then(
          () => true,
          () => false,
        );
        if (isDone) await database.query("delete from pgboss.job where id = $1", [id]);
      }
      return (await findJobs()).length;
    },
    async reconcile() {
      await database.query(
        "update payment set check_at = now() - interval '1 second' where check_at is not null",
      );
      await reconciliation.run(internalCall());
    },
    async expire(orderId) {
      await setExpiry(database, "-1 hour", orderId);
      await endLeases(database);
      await expire();
    },
  };
}
