import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";

const isGateway = "gateway in ('sandbox', 'stripe', 'manual')";

/** A payment of an order: an attempt to pay it by a gateway, or a payment by hand. It changes under the lock of its order. */
export const PaymentEntity = defineEntity({
  name: "Payment",
  tableName: "payment",
  properties: {
    id: p.uuid().primary(),
    orderId: p.uuid(),
    gateway: p.text(),
    /** Id at the gateway; null until it has responded. */
    reference: p.text().nullable(),
    amountMinor: p.bigint("bigint"),
    currency: p.character().length(3),
    capture: p.text(),
    /** What responses of the gateway state about a payment without money. */
    step: p.text(),
    /** `paymentStateOf` its entries and the step. */
    state: p.text(),
    /** Whether it keeps another payment from being created. Once false, it stays so, whatever the gateway reports. */
    isOpen: p.boolean(),
    // The sums of the entries, as `derivePaymentMoney` returns them.
    authorizedMinor: p.bigint("bigint").default(0),
    capturedMinor: p.bigint("bigint").default(0),
    refundedMinor: p.bigint("bigint").default(0),
    disputedMinor: p.bigint("bigint").default(0),
    lostMinor: p.bigint("bigint").default(0),
    /** The refunds that the service has requested and that have not failed. */
    requestedRefundMinor: p.bigint("bigint").default(0),
    /** Allows the buyer's client to continue the payment. */
    clientSecret: p.text().nullable(),
    /** Token of the payment method, until the outcome of the creation is known. */
    methodToken: p.text().nullable(),
    failureCode: p.text().nullable(),
    failureMessage: p.text().nullable(),
    manualReference: p.text().nullable(),
    /** Units that were cancelled before the payment, by item; null for none. */
    cancelledUnits: p.json<Record<string, string>>().nullable(),
    captureBefore: timestamp().nullable(),
    /** Why the gateway has to be asked: DOUBT about an outcome, or to compare the sums of a payment that is settled. */
    checkReason: p.text().nullable(),
    checkAt: timestamp().nullable(),
    checks: p.integer().default(0),
    requestId: p.uuid(),
    fingerprint: p.blob().nullable(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
  },
  uniques: [{ name: "payment_request_unique", properties: ["orderId", "requestId"] }],
  indexes: [
    { name: "payment_order", properties: ["orderId", "id"] },
    {
      name: "payment_reference_unique",
      expression:
        "create unique index payment_reference_unique on payment (gateway, reference) where reference is not null",
    },
    {
      name: "payment_open_unique",
      expression: "create unique index payment_open_unique on payment (order_id) where is_open",
    },
    {
      name: "payment_check",
      expression: "create index payment_check on payment (check_reason, check_at) where check_at is not null",
    },
    {
      name: "payment_capture_before",
      expression:
        "create index payment_capture_before on payment (capture_before) where state = 'AUTHORIZED'",
    },
  ],
  checks: [
    { name: "payment_gateway_known", expression: isGateway },
    { name: "payment_capture_known", expression: "capture in ('AT_SHIPMENT', 'AT_ORDER')" },
    {
      name: "payment_step_known",
      expression: "step in ('PENDING', 'ACTION_REQUIRED', 'CANCELLED', 'FAILED')",
    },
    {
      name: "payment_state_known",
      expression: "state in ('PENDING', 'ACTION_REQUIRED', 'AUTHORIZED', 'CAPTURED', 'FAILED', 'CANCELLED')",
    },
    { name: "payment_amount_positive", expression: "amount_minor > 0" },
    {
      name: "payment_refunds_within_captured",
      expression: "requested_refund_minor between 0 and captured_minor",
    },
    {
      name: "payment_check_complete",
      expression: "(check_reason is null) = (check_at is null) and check_reason in ('DOUBT', 'SETTLE')",
    },
  ],
});

/**
 * A request of the service to a gateway, committed before the gateway is called. Its id is the idempotency key. That of a
 * refund is the id of the refund.
 */
export const PaymentRequestEntity = defineEntity({
  name: "PaymentRequest",
  tableName: "payment_request",
  properties: {
    id: p.uuid().primary(),
    paymentId: p.uuid(),
    orderId: p.uuid(),
    kind: p.text(),
    /** Null for a cancellation. */
    amountMinor: p.bigint("bigint").nullable(),
    /** Whether the rest of the authorization ends with a capture. */
    isFinal: p.boolean().default(true),
    /** DEAD: it has failed in its last attempt, and its outcome is unknown. */
    state: p.text().default("OPEN"),
    attempts: p.integer().default(0),
    lastError: p.text().nullable(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
  },
  indexes: [
    { name: "payment_request_payment", properties: ["paymentId"] },
    {
      name: "payment_request_capture_unique",
      expression:
        "create unique index payment_request_capture_unique on payment_request (payment_id) where kind = 'CAPTURE' and state in ('OPEN', 'DEAD')",
    },
    {
      name: "payment_request_cancel_unique",
      expression:
        "create unique index payment_request_cancel_unique on payment_request (payment_id) where kind = 'CANCEL' and state = 'OPEN'",
    },
    {
      name: "payment_request_unfinished",
      expression:
        "create index payment_request_unfinished on payment_request (state, id) where state in ('OPEN', 'DEAD')",
    },
  ],
  checks: [
    { name: "payment_request_kind_known", expression: "kind in ('CAPTURE', 'CANCEL', 'REFUND')" },
    { name: "payment_request_state_known", expression: "state in ('OPEN', 'DONE', 'FAILED', 'DEAD')" },
    {
      name: "payment_request_amount_positive",
      expression: "(kind = 'CANCEL') = (amount_minor is null) and amount_minor > 0",
    },
  ],
});

/** A webhook of a gateway, stored before the response. */
export const WebhookEventEntity = defineEntity({
  name: "WebhookEvent",
  tableName: "webhook_event",
  properties: {
    gateway: p.text().primary(),
    eventId: p.text().primary(),
    type: p.text(),
    /** As it was received and signed. */
    body: p.blob(),
    receivedAt: timestamp(),
    /** Time from which on it is processed, unless that was done before. */
    retryAt: timestamp(),
    processedAt: timestamp().nullable(),
    /** Null until it is processed. */
    outcome: p.text().nullable(),
    attempts: p.integer().default(0),
    lastError: p.text().nullable(),
  },
  indexes: [
    {
      name: "webhook_event_open",
      expression: "create index webhook_event_open on webhook_event (retry_at) where processed_at is null",
    },
    {
      name: "webhook_event_processed",
      expression:
        "create index webhook_event_processed on webhook_event (processed_at) where processed_at is not null",
    },
  ],
  checks: [
    { name: "webhook_event_gateway_known", expression: isGateway },
    {
      name: "webhook_event_outcome_known",
      expression:
        "(outcome is null) = (processed_at is null) and outcome in ('APPLIED', 'IGNORED', 'UNREADABLE')",
    },
  ],
});
