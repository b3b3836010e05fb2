import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";

/**
 * A fact about the money of a payment, as a gateway or staff have stated it. A trigger rejects updates and deletions. A
 * repeat with another amount is a row of its own: of the rows of one gateway, type and reference, the one with the greatest
 * amount counts.
 */
export const LedgerEntryEntity = defineEntity({
  name: "LedgerEntry",
  tableName: "ledger_entry",
  properties: {
    id: p.uuid().primary(),
    /** Null, like the payment, if the fact names a payment that does not exist. */
    orderId: p.uuid().nullable(),
    paymentId: p.uuid().nullable(),
    gateway: p.text(),
    type: p.text(),
    reference: p.text(),
    amountMinor: p.bigint("bigint"),
    currency: p.character().length(3),
    /** The request of the service that has caused it, if there is one. */
    requestId: p.uuid().nullable(),
    source: p.text(),
    /** Reference of a payment or refund by hand, or the reason of a failure. */
    note: p.text().default(""),
    /** Time that the gateway states. */
    gatewayTime: timestamp().nullable(),
    createdAt: timestamp(),
  },
  uniques: [
    {
      name: "ledger_entry_fact_unique",
      properties: ["gateway", "type", "reference", "amountMinor", "currency"],
    },
  ],
  indexes: [
    { name: "ledger_entry_order", properties: ["orderId", "id"] },
    { name: "ledger_entry_payment", properties: ["paymentId", "id"] },
  ],
  checks: [
    { name: "ledger_entry_gateway_known", expression: "gateway in ('sandbox', 'stripe', 'manual')" },
    {
      name: "ledger_entry_type_known",
      expression:
        "type in ('AUTHORIZED', 'AUTHORIZATION_FAILED', 'VOIDED', 'CAPTURED', 'CAPTURE_FAILED', 'REFUNDED', 'REFUND_FAILED', 'DISPUTED', 'DISPUTE_WON', 'DISPUTE_LOST')",
    },
    {
      name: "ledger_entry_source_known",
      expression: "source in ('RESPONSE', 'WEBHOOK', 'FETCH', 'STAFF', 'MIGRATION')",
    },
    { name: "ledger_entry_amount_not_negative", expression: "amount_minor >= 0" },
    { name: "ledger_entry_payment_complete", expression: "(order_id is null) = (payment_id is null)" },
  ],
});

/** A contradiction within the ledger, or between it and a gateway, until a person has resolved it and after that. */
export const PaymentDiscrepancyEntity = defineEntity({
  name: "PaymentDiscrepancy",
  tableName: "payment_discrepancy",
  properties: {
    id: p.uuid().primary(),
    kind: p.text(),
    orderId: p.uuid().nullable(),
    paymentId: p.uuid().nullable(),
    gateway: p.text(),
    reference: p.text(),
    expectedMinor: p.bigint("bigint").nullable(),
    actualMinor: p.bigint("bigint").nullable(),
    currency: p.character().length(3).nullable(),
    description: p.text(),
    createdAt: timestamp(),
    resolvedAt: timestamp().nullable(),
    resolution: p.text().default(""),
  },
  indexes: [
    { name: "payment_discrepancy_created", properties: ["createdAt", "id"] },
    { name: "payment_discrepancy_order", properties: ["orderId"] },
    {
      name: "payment_discrepancy_open_unique",
      expression:
        "create unique index payment_discrepancy_open_unique on payment_discrepancy (kind, gateway, reference) where resolved_at is null",
    },
  ],
  checks: [
    {
      name: "payment_discrepancy_kind_known",
      expression:
        "kind in ('AMOUNT_CONFLICT', 'CURRENCY_MISMATCH', 'UNKNOWN_PAYMENT', 'WRONG_PAYMENT', 'CAPTURED_MISMATCH', 'REFUNDED_MISMATCH', 'OVERPAID', 'REQUEST_FAILED')",
    },
    {
      name: "payment_discrepancy_amounts_complete",
      expression: "(currency is null) = (expected_minor is null and actual_minor is null)",
    },
  ],
});
