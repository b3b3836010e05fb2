import { defineEntity, type Opt, p } from "@mikro-orm/postgresql";
import { timestamp } from "../infra/postgres/columns.ts";

/** An order. Its request_id is unique for each owner, so that the database rejects a second order (invariant I4). */
export const OrderEntity = defineEntity({
  name: "Order",
  tableName: "orders",
  properties: {
    id: p.uuid().primary(),
    customerId: p.uuid().nullable(),
    paymentState: p.text().default("UNPAID"),
    fulfillmentState: p.text().default("UNFULFILLED"),
    /** Whether the order was cancelled, has expired or is about to expire. */
    closing: p.text().default("NONE"),
    // Stored, because PostgreSQL cannot index a virtual column. `overallState` computes the same.
    state: p
      .text()
      .$type<Opt<string>>()
      .generated(`(case
        when closing in ('CANCELLED', 'EXPIRED') then closing
        when payment_state in ('UNPAID', 'FAILED')
          then case when fulfillment_state = 'UNFULFILLED' then 'PENDING' else 'CONFIRMED' end
        when fulfillment_state = 'DELIVERED' and payment_state <> 'AUTHORIZED' then 'COMPLETED'
        else 'CONFIRMED'
      end) stored`),
    currency: p.character().length(3),
    /** Subtotal and discount, shipping and the tax that is not included. The subtotal is what the others leave. */
    totalMinor: p.bigint("bigint"),
    discountMinor: p.bigint("bigint").default(0),
    shippingMinor: p.bigint("bigint").default(0),
    /** Tax of the items and of the shipping. */
    taxMinor: p.bigint("bigint").default(0),
    isTaxIncluded: p.boolean().default(false),
    /** What was captured or paid by hand, and what of it went back: they follow from the ledger. */
    paidMinor: p.bigint("bigint").default(0),
    refundedMinor: p.bigint("bigint").default(0),
    promotionId: p.uuid().nullable(),
    /** Whether the items were recorded as purchases of the promotion. Until then the order only takes its limits. */
    salesRecorded: p.boolean().default(false),
    email: p.text().nullable(),
    note: p.text().nullable(),
    shippingAddress: p.json().nullable(),
    billingAddress: p.json().nullable(),
    shippingOption: p.json().nullable(),
    expiresAt: timestamp().nullable(),
    /** Time to pay after created_at when the order was placed: the first response is rebuilt from it. */
    reservationSeconds: p.integer().nullable(),
    /** The actor who has placed the order; null for orders that are older than the history. */
    placedBy: p.text().nullable(),
    /** The customer or, for the order of a guest, the caller that the request_id belongs to. */
    owner: p.text(),
    requestId: p.uuid(),
    /** Identifies the content of the request; null for an order without a known request, such as a seeded one. */
    fingerprint: p.blob().nullable(),
    version: p.integer().version(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
  },
  uniques: [{ name: "orders_request_unique", properties: ["owner", "requestId"] }],
  indexes: [
    { name: "orders_customer_created", properties: ["customerId", "createdAt", "id"] },
    { name: "orders_state_created", properties: ["state", "createdAt", "id"] },
    { name: "orders_created", properties: ["createdAt", "id"] },
    {
      name: "orders_expiring",
      expression:
        "create index orders_expiring on orders (expires_at, id) where expires_at is not null and closing = 'NONE' and payment_state in ('UNPAID', 'FAILED')",
    },
  ],
  checks: [
    {
      name: "orders_payment_state_known",
      expression:
        "payment_state in ('UNPAID', 'AUTHORIZED', 'PAID', 'PARTIALLY_REFUNDED', 'REFUNDED', 'FAILED')",
    },
    {
      name: "orders_fulfillment_state_known",
      expression: "fulfillment_state in ('UNFULFILLED', 'PARTIALLY_FULFILLED', 'FULFILLED', 'DELIVERED')",
    },
    {
      name: "orders_closing_known",
      expression: "closing in ('NONE', 'EXPIRING', 'EXPIRED', 'CANCELLED')",
    },
    {
      name: "orders_closed_unfulfilled",
      expression: "closing = 'NONE' or fulfillment_state = 'UNFULFILLED'",
    },
    {
      name: "orders_totals_not_negative",
      expression:
        "total_minor >= 0 and discount_minor <= 0 and shipping_minor >= 0 and tax_minor >= 0 and paid_minor >= 0",
    },
  ],
});

/** One product of an order, as it was when the order was placed, and what became of its units. */
export const OrderItemEntity = defineEntity({
  name: "OrderItem",
  tableName: "order_item",
  properties: {
    orderId: p.uuid().primary(),
    position: p.smallint().primary(),
    productId: p.uuid(),
    sku: p.text(),
    name: p.text(),
    unitMinor: p.bigint("bigint"),
    quantity: p.bigint("bigint"),
    taxMinor: p.bigint("bigint").default(0),
    cancelledQuantity: p.bigint("bigint").default(0),
    fulfilledQuantity: p.bigint("bigint").default(0),
    returnedQuantity: p.bigint("bigint").default(0),
  },
  uniques: [{ name: "order_item_product_unique", properties: ["orderId", "productId"] }],
  checks: [
    { name: "order_item_quantity_in_range", expression: "quantity between 1 and 10000" },
    { name: "order_item_price_not_negative", expression: "unit_minor >= 0" },
    {
      name: "order_item_units_add_up",
      expression:
        "cancelled_quantity >= 0 and returned_quantity between 0 and fulfilled_quantity and cancelled_quantity + fulfilled_quantity <= quantity and tax_minor >= 0",
    },
  ],
});

/**
 * One change of an order, never updated. The sequence is the version of the order after the change. The first event,
 * PLACED, is not a row: it is derived from the order, so that placing an order writes no further row.
 */
export const OrderEventEntity = defineEntity({
  name: "OrderEvent",
  tableName: "order_event",
  properties: {
    orderId: p.uuid().primary(),
    sequence: p.integer().primary(),
    type: p.text(),
    /** Kind of the caller and, for staff and services, its name, such as `STAFF account:<id>`. */
    actor: p.text(),
    reason: p.text().default(""),
    paymentState: p.text(),
    fulfillmentState: p.text(),
    closing: p.text(),
    /** What the type of the event adds, such as the shipped units. */
    details: p.json(),
    createdAt: timestamp(),
  },
  checks: [{ name: "order_event_sequence_in_range", expression: "sequence > 1" }],
});

/** An order that is EXPIRING, until it has expired or its expiry was aborted. */
export const OrderExpiryEntity = defineEntity({
  name: "OrderExpiry",
  tableName: "order_expiry",
  properties: {
    orderId: p.uuid().primary(),
    /** How often a worker has begun to cancel the payment. */
    attempts: p.integer(),
    /** Time of the database at which any worker may continue the expiry: the end of a worker's lease, or of a delay. */
    retryAt: timestamp(),
  },
  indexes: [{ name: "order_expiry_retry", properties: ["retryAt"] }],
});

/** A shipment of units of an order. */
export const FulfillmentEntity = defineEntity({
  name: "Fulfillment",
  tableName: "fulfillment",
  properties: {
    id: p.uuid().primary(),
    orderId: p.uuid(),
    carrier: p.text(),
    trackingNumber: p.text(),
    trackingUri: p.text(),
    createdAt: timestamp(),
    deliveredAt: timestamp().nullable(),
    /** The actors of the shipment and of the delivery, as events store them; empty if unknown. */
    shippedBy: p.text().default(""),
    deliveredBy: p.text().default(""),
    version: p.integer().default(1),
  },
  indexes: [{ name: "fulfillment_order", properties: ["orderId", "id"] }],
});

/** The units of one item in a shipment. */
export const FulfillmentItemEntity = defineEntity({
  name: "FulfillmentItem",
  tableName: "fulfillment_item",
  properties: {
    fulfillmentId: p.uuid().primary(),
    /** Position of the item in the order. */
    position: p.smallint().primary(),
    quantity: p.bigint("bigint"),
  },
  checks: [{ name: "fulfillment_item_quantity_in_range", expression: "quantity between 1 and 10000" }],
});
