import type { RunningJob } from "../../infra/jobs/jobs.ts";
import { type PaymentRequestJob, paymentRequestQueue } from "../../infra/jobs/queues.ts";
import { createThrottledWarning } from "../../infra/jobs/throttled-warning.ts";
import type { Loop } from "../../kernel/async/start-loop.ts";
import type { Call } from "../../kernel/call.ts";
import { confirmPayment, type PaymentConfirmation } from "./create/confirm-payment.ts";
import { type CreationOptions, createPayment, type PaymentCreation } from "./create/create-payment.ts";
import { createCreateWriter } from "./create/create-writer.ts";
import type { ReadPayment } from "./list-payments.ts";
import { paymentsOffError } from "./payment-errors.ts";
import { createAuthorizationAlarm } from "./reconcile/ending-authorizations.ts";
import { createReconciliation, type ReconciliationOptions } from "./reconcile/reconciliation.ts";
import { type CancellationOptions, cancelPayment } from "./request/cancel-payment.ts";
import { capturePayment, type PaymentCapture } from "./request/capture-payment.ts";
import { runRequest } from "./request/run-request.ts";
import { createEventProcessor } from "./webhook/event-processor.ts";
import { createEventWriter } from "./webhook/event-writer.ts";
import { createWebhooks, type Webhooks } from "./webhook/webhooks.ts";

/** The methods that call the gateway. */
export interface GatewayPayments {
  /** Creates a payment of what is due of an order. @throws AppError as `createPayment` does, PAYMENTS_OFF without a gateway */
  create(call: Call, creation: PaymentCreation): Promise<ReadPayment>;
  /** Confirms a payment. @throws AppError as `confirmPayment` does, PAYMENTS_OFF without a gateway */
  confirm(call: Call, confirmation: PaymentConfirmation): Promise<ReadPayment>;
  /** Cancels a payment. @throws AppError as `cancelPayment` does, PAYMENTS_OFF without a gateway */
  cancel(call: Call, cancellation: { id: string; requestId: string }): Promise<ReadPayment>;
  /** Requests the capture of a payment. @throws AppError as `capturePayment` does, PAYMENTS_OFF without a gateway */
  capture(call: Call, capture: PaymentCapture): Promise<ReadPayment>;
  /** Runs the job of a request to the gateway. @throws when it is to be repeated */
  runRequest(job: RunningJob<PaymentRequestJob>): Promise<void>;
  /** Receives the webhooks of the gateway. */
  readonly webhooks: Webhooks;
  /**
   * Processes stored webhooks, reconciles payments with the gateway and reports authorizations that end soon, until the
   * loops are closed. Several processes may do this concurrently.
   */
  startLoops(): Loop[];
}

/** Dependencies of payments by a gateway. */
export type GatewayPaymentOptions = Omit<
  CreationOptions & CancellationOptions & ReconciliationOptions,
  "createWriter" | "warn" | "capturesInParts"
>;

/** Creates the methods that call the gateway. */
export function createGatewayPayments(dependencies: GatewayPaymentOptions): GatewayPayments {
  const { capturesInParts } = dependencies.gateway;
  const warn = createThrottledWarning(dependencies.log);
  const options = {
    ...dependencies,
    capturesInParts,
    warn,
    createWriter: createCreateWriter(dependencies),
  };
  return {
    create: (call, creation) => createPayment(options, call, creation),
    confirm: (call, confirmation) => confirmPayment(options, call, confirmation),
    cancel: (call, cancellation) => cancelPayment(options, call, cancellation),
    capture: (call, capture) => capturePayment(options, call, capture),
    webhooks: createWebhooks({ ...dependencies, eventWriter: createEventWriter(dependencies) }),
    startLoops: () => [
      createEventProcessor(dependencies).start(),
      createReconciliation(dependencies).start(),
      createAuthorizationAlarm(dependencies).start(),
    ],
    runRequest: ({ data, attempt, signal }) =>
      runRequest(options, data.requestId, {
        attempt,
        signal,
        isLast: attempt >= paymentRequestQueue.maxAttempts,
      }),
  };
}

const off = async (): Promise<never> => {
  throw paymentsOffError();
};

/** The methods in a shop without a gateway. */
export const withoutPayments: GatewayPayments = {
  create: off,
  confirm: off,
  cancel: off,
  capture: off,
  runRequest: off,
  webhooks: { gateways: new Set(), receive: off, close: async () => {} },
  startLoops: () => [],
};
