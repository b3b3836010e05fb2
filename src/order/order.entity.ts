import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../infra/postgres/columns.ts";

/** An order. Its request_id is unique for each owner, so that the database rejects a second order (invariant I4). */
export const OrderEntity = defineEntity({
  name: "Order",
  tableName: "orders",
  properties: {
    id: p.uuid().primary(),
    customerId: p.uuid().nullable(),
    state: p.text(),
    currency: p.character().length(3),
    totalMinor: p.bigint("bigint"),
    promotionId: p.uuid().nullable(),
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
  ],
  checks: [
    { name: "orders_state_known", expression: "state in ('PENDING', 'CANCELLED')" },
    { name: "orders_total_not_negative", expression: "total_minor >= 0" },
  ],
});

/** One product of an order, as it was when the order was placed. */
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
  },
  uniques: [{ name: "order_item_product_unique", properties: ["orderId", "productId"] }],
  checks: [
    { name: "order_item_quantity_in_range", expression: "quantity between 1 and 10000" },
    { name: "order_item_price_not_negative", expression: "unit_minor >= 0" },
  ],
});
