import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../postgres/columns.ts";

/** A payment at the sandbox: the state of a gateway that moves no money. */
export const SandboxPaymentEntity = defineEntity({
  name: "SandboxPayment",
  tableName: "sandbox_payment",
  properties: {
    id: p.text().primary(),
    /** The caller's id of the payment: the idempotency key of its creation. */
    paymentId: p.uuid(),
    orderId: p.uuid(),
    amountMinor: p.bigint("bigint"),
    currency: p.character().length(3),
    capture: p.text(),
    /** Token of the payment method, which decides what becomes of the payment; empty for none yet. */
    token: p.text(),
    step: p.text(),
    clientSecret: p.text(),
    /** All facts, oldest first, which responses and webhooks state. That of a request has the id of the request. */
    facts: p.json(),
    /** Kinds and ids of the requests that were executed, besides the creation. */
    requests: p.json(),
    captureBefore: timestamp().nullable(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
  },
  uniques: [{ name: "sandbox_payment_unique", properties: ["paymentId"] }],
});

/** A webhook of the sandbox that is not delivered yet. */
export const SandboxEventEntity = defineEntity({
  name: "SandboxEvent",
  tableName: "sandbox_event",
  properties: {
    id: p.text().primary(),
    sandboxPaymentId: p.text(),
    body: p.text(),
    /** Time of the next delivery, or the end of the lease of the process that delivers it. */
    dueAt: timestamp(),
    /** Deliveries that were started. */
    attempts: p.integer().default(0),
    createdAt: timestamp(),
  },
  indexes: [{ name: "sandbox_event_due", properties: ["dueAt", "id"] }],
});
