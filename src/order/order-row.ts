import { sql } from "kysely";
import type { Money } from "../kernel/money.ts";
import { allowedTransitions, type OrderState, type OrderTransition } from "./order-state.ts";

/** One product of an order, as it was when the order was placed. */
export interface OrderItem {
  productId: string;
  sku: string;
  name: string;
  unitPrice: Money;
  quantity: bigint;
  /** Unit price times quantity. */
  totalPrice: Money;
}

/** A purchase of one or more products. */
export interface Order {
  id: string;
  /** Empty for a guest. */
  customerId: string;
  state: OrderState;
  items: OrderItem[];
  totalPrice: Money;
  /** Empty for none. */
  promotionId: string;
  /** The transitions that the current state allows. */
  allowedTransitions: OrderTransition[];
  etag: string;
  createTime: Date;
  updateTime: Date;
}

interface OrderItemRow {
  product_id: string;
  sku: string;
  name: string;
  unit_minor: string;
  quantity: string;
}

/** An order with its items, as `SELECT_ORDER` returns it. */
export interface OrderRow {
  id: string;
  customer_id: string | null;
  state: OrderState;
  currency: string;
  total_minor: string;
  promotion_id: string | null;
  version: number;
  created_at: string;
  updated_at: string;
  items: OrderItemRow[];
}

/** Selects orders with their items; a condition follows. Numbers are text, since JSON parsers round large ones. */
export const SELECT_ORDER = sql`
  select orders.*, (
    select json_agg(json_build_object(
      'product_id', product_id, 'sku', sku, 'name', name,
      'unit_minor', unit_minor::text, 'quantity', quantity::text
    ) order by position) from order_item where order_id = orders.id
  ) as items
  from orders`;

/** Returns the order of a row. */
export function orderFromRow(row: OrderRow): Order {
  const money = (minorUnits: bigint): Money => ({ currencyCode: row.currency, minorUnits });
  return {
    id: row.id,
    customerId: row.customer_id ?? "",
    state: row.state,
    items: row.items.map((item) => ({
      productId: item.product_id,
      sku: item.sku,
      name: item.name,
      unitPrice: money(BigInt(item.unit_minor)),
      quantity: BigInt(item.quantity),
      totalPrice: money(BigInt(item.unit_minor) * BigInt(item.quantity)),
    })),
    totalPrice: money(BigInt(row.total_minor)),
    promotionId: row.promotion_id ?? "",
    allowedTransitions: allowedTransitions(row.state),
    etag: String(row.version),
    createTime: new Date(row.created_at),
    updateTime: new Date(row.updated_at),
  };
}
