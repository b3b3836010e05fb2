import { sql } from "kysely";
import type { Money } from "../kernel/money.ts";
import type { PostalAddress } from "./address/postal-address.ts";
import { completeOrder } from "./complete-order.ts";
import type { Order, OrderItem, OrderTotals, ShippingOption } from "./order-types.ts";
import type { OrderStates } from "./state/order-state.ts";

interface OrderItemRow {
  position: number;
  product_id: string;
  sku: string;
  name: string;
  unit_minor: string;
  quantity: string;
  tax_minor: string;
  cancelled: string;
  fulfilled: string;
  returned: string;
}

/** How a shipping option is stored. Amounts are decimal text. */
export interface StoredShippingOption extends Omit<ShippingOption, "price" | "tax"> {
  price: string;
  tax: string;
}

/** An order with its items, as `SELECT_ORDER` returns it. */
export interface OrderRow {
  id: string;
  customer_id: string | null;
  payment_state: OrderStates["paymentState"];
  fulfillment_state: OrderStates["fulfillmentState"];
  closing: OrderStates["closing"];
  currency: string;
  total_minor: string;
  discount_minor: string;
  shipping_minor: string;
  tax_minor: string;
  is_tax_included: boolean;
  paid_minor: string;
  refunded_minor: string;
  promotion_id: string | null;
  sales_recorded: boolean;
  email: string | null;
  note: string | null;
  shipping_address: PostalAddress | null;
  billing_address: PostalAddress | null;
  shipping_option: StoredShippingOption | null;
  expires_at: string | null;
  reservation_seconds: number | null;
  placed_by: string | null;
  version: number;
  created_at: string;
  updated_at: string;
  items: OrderItemRow[];
}

/** Selects orders with their items; a condition follows. Numbers are text, since JSON parsers round large ones. */
export const SELECT_ORDER = sql`
  select orders.*, (
    select json_agg(json_build_object(
      'position', position, 'product_id', product_id, 'sku', sku, 'name', name, 'unit_minor', unit_minor::text,
      'quantity', quantity::text, 'tax_minor', tax_minor::text, 'cancelled', cancelled_quantity::text,
      'fulfilled', fulfilled_quantity::text, 'returned', returned_quantity::text
    ) order by position) from order_item where order_id = orders.id
  ) as items
  from orders`;

/** Returns the order of a row. */
export function orderFromRow(row: OrderRow): Order {
  const money = (minorUnits: string): Money => ({
    currencyCode: row.currency,
    minorUnits: BigInt(minorUnits),
  });
  const option = row.shipping_option;
  return completeOrder({
    id: row.id,
    customerId: row.customer_id ?? "",
    paymentState: row.payment_state,
    fulfillmentState: row.fulfillment_state,
    closing: row.closing,
    items: row.items.map((item) => itemFromRow(item, row.currency)),
    totals: totalsFromRow(row),
    paid: money(row.paid_minor),
    refunded: money(row.refunded_minor),
    promotionId: row.promotion_id ?? "",
    salesRecorded: row.sales_recorded,
    shippingAddress: row.shipping_address ?? undefined,
    billingAddress: row.billing_address ?? undefined,
    email: row.email ?? "",
    note: row.note ?? "",
    shippingOption:
      option === null ? undefined : { ...option, price: money(option.price), tax: money(option.tax) },
    etag: String(row.version),
    createTime: new Date(row.created_at),
    updateTime: new Date(row.updated_at),
    expireTime: row.expires_at === null ? undefined : new Date(row.expires_at),
  });
}

function itemFromRow(item: OrderItemRow, currencyCode: string): OrderItem {
  const quantity = BigInt(item.quantity);
  const unitPrice = { currencyCode, minorUnits: BigInt(item.unit_minor) };
  return {
    id: String(item.position),
    productId: item.product_id,
    sku: item.sku,
    name: item.name,
    unitPrice,
    quantity,
    totalPrice: { currencyCode, minorUnits: unitPrice.minorUnits * quantity },
    tax: { currencyCode, minorUnits: BigInt(item.tax_minor) },
    cancelledQuantity: BigInt(item.cancelled),
    fulfilledQuantity: BigInt(item.fulfilled),
    returnedQuantity: BigInt(item.returned),
  };
}

function totalsFromRow(row: OrderRow): OrderTotals {
  const total = BigInt(row.total_minor);
  const discount = BigInt(row.discount_minor);
  const shipping = BigInt(row.shipping_minor);
  const tax = BigInt(row.tax_minor);
  const isTaxIncluded = row.is_tax_included;
  const subtotal = total - discount - shipping - (isTaxIncluded ? 0n : tax);
  return { subtotal, discount, shipping, tax, isTaxIncluded, total };
}

/**
 * Returns the order of a row as the response of its CreateOrder had it. Only what changes with the order differs: its
 * states, the quantities of its items, and when it expires.
 */
export function firstResponse(row: OrderRow): Order {
  const { reservation_seconds: seconds, created_at: createdAt } = row;
  const isFree = row.total_minor === "0";
  return orderFromRow({
    ...row,
    payment_state: isFree && row.placed_by !== null ? "PAID" : "UNPAID",
    fulfillment_state: "UNFULFILLED",
    closing: "NONE",
    paid_minor: "0",
    refunded_minor: "0",
    items: row.items.map((item) => ({ ...item, cancelled: "0", fulfilled: "0", returned: "0" })),
    expires_at: seconds === null ? null : new Date(Date.parse(createdAt) + seconds * 1_000).toISOString(),
    version: 1,
    updated_at: createdAt,
  });
}
