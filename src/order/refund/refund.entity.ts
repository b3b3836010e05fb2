import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";

/** A refund of a payment. Its id is that of the request to the gateway. */
export const RefundEntity = defineEntity({
  name: "Refund",
  tableName: "refund",
  properties: {
    id: p.uuid().primary(),
    orderId: p.uuid(),
    paymentId: p.uuid(),
    kind: p.text(),
    /** The cause of an automatic refund, such as `CLOSED`. A payment has one refund for each cause. */
    cause: p.text().nullable(),
    amountMinor: p.bigint("bigint"),
    /** Share of the shipping, with its tax. */
    shippingMinor: p.bigint("bigint").default(0),
    shippingTaxMinor: p.bigint("bigint").default(0),
    state: p.text(),
    reason: p.text().default(""),
    /** Reference of a refund by hand. */
    reference: p.text().nullable(),
    failure: p.text().nullable(),
    /** Who has requested it, as events store it. */
    actor: p.text(),
    createdAt: timestamp(),
    completedAt: timestamp().nullable(),
  },
  indexes: [
    { name: "refund_order", properties: ["orderId", "id"] },
    { name: "refund_payment", properties: ["paymentId"] },
    {
      name: "refund_cause_unique",
      expression:
        "create unique index refund_cause_unique on refund (payment_id, cause) where cause is not null",
    },
  ],
  checks: [
    { name: "refund_kind_known", expression: "kind in ('ITEMS', 'AMOUNT', 'SHIPPING', 'AUTOMATIC')" },
    { name: "refund_cause_automatic", expression: "(kind = 'AUTOMATIC') = (cause is not null)" },
    { name: "refund_state_known", expression: "state in ('PENDING', 'SUCCEEDED', 'FAILED')" },
    { name: "refund_completed", expression: "(state = 'PENDING') = (completed_at is null)" },
    {
      name: "refund_amounts_in_range",
      expression:
        "amount_minor > 0 and shipping_minor between 0 and amount_minor and shipping_tax_minor between 0 and shipping_minor",
    },
  ],
});

/** The share of an item in a refund. */
export const RefundLineEntity = defineEntity({
  name: "RefundLine",
  tableName: "refund_line",
  properties: {
    refundId: p.uuid().primary(),
    /** Position of the item in the order. */
    position: p.smallint().primary(),
    /** 0 for the share of the item in a refund of an amount. */
    quantity: p.bigint("bigint"),
    amountMinor: p.bigint("bigint"),
    taxMinor: p.bigint("bigint"),
  },
  checks: [
    {
      name: "refund_line_in_range",
      expression:
        "quantity between 0 and 10000 and amount_minor >= 0 and tax_minor between 0 and amount_minor",
    },
  ],
});
