import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../infra/postgres/columns.ts";

/**
 * The stock of a product, in a narrow row of its own. No column besides the key is indexed, so that every update is a
 * HOT update; the fill factor is in the migration. The row exists as long as the product.
 */
export const InventoryEntity = defineEntity({
  name: "Inventory",
  tableName: "inventory",
  properties: {
    productId: p.uuid().primary(),
    /** Units in the warehouse. */
    onHand: p.bigint("bigint"),
    /** Those of the units on hand that pending orders have taken. */
    reserved: p.bigint("bigint").default(0),
    /** Increases with every change of the row. */
    version: p.bigint("bigint").default(1),
  },
  checks: [
    // Above MAX_STOCK, since units may be on hand for orders that were placed before the bound existed.
    { name: "inventory_on_hand_in_range", expression: "on_hand between 0 and 4294967296" },
    { name: "inventory_reserved_in_range", expression: "reserved between 0 and on_hand" },
  ],
});

/** The fencing tokens of the lock of hot products, apart from the stock: orders without the lock write nothing here. */
export const StockFenceEntity = defineEntity({
  name: "StockFence",
  tableName: "stock_fence",
  properties: {
    productId: p.uuid().primary(),
    /** The highest token of a committed transaction. */
    token: p.bigint("bigint"),
  },
});

/** The ledger of stock: one row for each change of a product's stock. Invariant I1 sums its rows. */
export const StockMovementEntity = defineEntity({
  name: "StockMovement",
  tableName: "stock_movement",
  properties: {
    id: p.bigint("bigint").primary().autoincrement(),
    productId: p.uuid(),
    onHandDelta: p.bigint("bigint").default(0),
    reservedDelta: p.bigint("bigint").default(0),
    reason: p.text(),
    orderId: p.uuid().nullable(),
    /** Sequence of the order's event; null for an order that an earlier version placed or cancelled. */
    orderSequence: p.integer().nullable(),
    effectiveAt: timestamp(),
    createdAt: timestamp(),
  },
  indexes: [
    { name: "stock_movement_product", properties: ["productId", "createdAt", "id"] },
    // Orders do not write to this index and the next one.
    {
      name: "stock_movement_product_reason",
      expression:
        "create index stock_movement_product_reason on stock_movement (product_id, reason, created_at, id) where reason <> 'ORDER'",
    },
    {
      name: "stock_movement_reason",
      expression:
        "create index stock_movement_reason on stock_movement (reason, created_at, id) where order_id is null",
    },
    {
      name: "stock_movement_recount",
      expression:
        "create index stock_movement_recount on stock_movement (product_id, effective_at) where reason = 'RECOUNT'",
    },
  ],
  uniques: [
    // An event of an order moves the units of a product once.
    {
      name: "stock_movement_order_event_unique",
      expression:
        "create unique index stock_movement_order_event_unique on stock_movement (order_id, product_id, reason, order_sequence) nulls not distinct where order_id is not null",
    },
  ],
  checks: [
    {
      name: "stock_movement_delta_not_zero",
      expression: "on_hand_delta <> 0 or reserved_delta <> 0 or reason = 'RECOUNT'",
    },
    {
      name: "stock_movement_reason_known",
      expression:
        "reason in ('INITIAL', 'ORDER', 'CANCEL', 'EXPIRE', 'SHIP', 'ORDER_RETURN', 'RECOUNT', 'RECEIVED', 'DAMAGED', 'RETURNED', 'CORRECTION')",
    },
    {
      name: "stock_movement_order_known",
      expression:
        "(reason in ('ORDER', 'CANCEL', 'EXPIRE', 'SHIP', 'ORDER_RETURN')) = (order_id is not null)",
    },
    // Earlier versions wrote no sequence, and only two of the reasons of orders.
    {
      name: "stock_movement_sequence_known",
      expression:
        "case when order_id is null then order_sequence is null when order_sequence is null then reason in ('ORDER', 'CANCEL') else order_sequence >= 1 end",
    },
    {
      name: "stock_movement_account_known",
      expression:
        "case reason when 'ORDER' then on_hand_delta = 0 and reserved_delta > 0 when 'CANCEL' then on_hand_delta = 0 and reserved_delta < 0 when 'EXPIRE' then on_hand_delta = 0 and reserved_delta < 0 when 'SHIP' then on_hand_delta < 0 and reserved_delta = on_hand_delta when 'ORDER_RETURN' then on_hand_delta > 0 and reserved_delta = 0 else reserved_delta = 0 end",
    },
  ],
});
