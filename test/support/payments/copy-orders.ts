import { randomUUID } from "node:crypto";
import type { TestDatabase } from "../stores/database.ts";

/** The stored states of a copy of an order. */
export interface CopiedStates {
  paymentState?: "UNPAID" | "FAILED" | "PAID";
  fulfillmentState?: "UNFULFILLED" | "FULFILLED";
  closing?: "NONE" | "EXPIRING" | "EXPIRED" | "CANCELLED";
}

/**
 * Copies an order with its items, without its history and without stock, and returns the ids of the copies: a test with
 * thousands of orders would take minutes to place them.
 */
export async function copyOrders(
  { query }: Pick<TestDatabase, "query">,
  orderId: string,
  count: number,
  states: CopiedStates = {},
): Promise<string[]> {
  const { paymentState = "UNPAID", fulfillmentState = "UNFULFILLED", closing = "NONE" } = states;
  const ids = Array.from({ length: count }, () => randomUUID());
  await query(
    `insert into orders (id, payment_state, fulfillment_state, closing, currency, total_minor, placed_by, owner, request_id,
       version, created_at, updated_at)
     select copy, $3, $4, $5, currency, total_minor, placed_by, owner, gen_random_uuid(), 1, created_at, updated_at
     from orders, unnest($2::uuid[]) as copy where id = $1`,
    [orderId, ids, paymentState, fulfillmentState, closing],
  );
  await query(
    `insert into order_item (order_id, position, product_id, sku, name, unit_minor, quantity)
     select copy, position, product_id, sku, name, unit_minor, quantity
     from order_item, unnest($2::uuid[]) as copy where order_id = $1`,
    [orderId, ids],
  );
  return ids;
}
