import type { Money } from "../../kernel/money.ts";

/** A purchase, or a reversal when units of its order are cancelled or returned. */
export type PurchaseKind = "SALE" | "REVERSAL";

/** A recorded purchase. It never changes. */
export interface Purchase {
  /** Idempotency key: each event is counted once. */
  eventId: string;
  userId: string;
  promotionId: string;
  productId: string;
  /** Empty for a purchase without an order. */
  orderId: string;
  kind: PurchaseKind;
  amount: Money;
  /** Whether it reverses some units of an item: it lowers amounts, but not the number of purchases. */
  partial: boolean;
  clientAddress: string;
  purchaseTime: Date;
  createTime: Date;
}

/** A row of the table purchase. */
export interface PurchaseRow {
  event_id: string;
  user_id: string;
  promotion_id: string;
  product_id: string;
  order_id: string | null;
  kind: PurchaseKind;
  currency: string;
  amount_minor: string;
  counts: boolean;
  client_address: string;
  purchased_at: string;
  created_at: string;
}

/** Returns the purchase of a row. */
export function purchaseFromRow(row: PurchaseRow): Purchase {
  return {
    eventId: row.event_id,
    userId: row.user_id,
    promotionId: row.promotion_id,
    productId: row.product_id,
    orderId: row.order_id ?? "",
    kind: row.kind,
    amount: { currencyCode: row.currency, minorUnits: BigInt(row.amount_minor) },
    partial: !row.counts,
    clientAddress: row.client_address,
    purchaseTime: new Date(row.purchased_at),
    createTime: new Date(row.created_at),
  };
}

/** Returns the user of the purchases of an order: its customer, or the order itself for a guest. */
export function purchaseUserId({ customerId, orderId }: { customerId: string; orderId: string }): string {
  return customerId || `guest:${orderId}`;
}
