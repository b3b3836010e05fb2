import type { LedgerEntryType } from "../../infra/payment/payment-gateway.ts";

/** Units of an item, as an event stores them. */
export interface StoredUnits {
  /** Id of the item in its order. */
  id: string;
  /** Decimal text. */
  quantity: string;
}

/** How an order was paid by hand. */
export type PaymentMethod = "CASH" | "BANK_TRANSFER";

/** An entry of the ledger, as an event stores it. */
export interface StoredEntry {
  type: LedgerEntryType;
  /** Id of the payment. */
  paymentId: string;
  /** Minor units, as decimal text. */
  amount: string;
}

/** What the type of an event adds to it, as JSON. Only the fields of the type are set. */
export interface EventDetails {
  items?: StoredUnits[];
  restocked?: boolean;
  fulfillmentId?: string;
  /** Of the shipment after the event, as the next two. */
  carrier?: string;
  trackingNumber?: string;
  trackingUri?: string;
  /** Minor units, as decimal text. */
  amount?: string;
  reference?: string;
  method?: PaymentMethod;
  /** ISO 8601. */
  expireTime?: string;
  paymentId?: string;
  refundId?: string;
  /** The new entries of the ledger that have caused the change. */
  entries?: StoredEntry[];
}

/** Returns the cancelled units of items as payments store them, JSON; null if there are none. */
export function storedCancelledUnits(
  items: readonly { id: string; cancelledQuantity: bigint }[],
): string | null {
  const cancelled = items.filter(({ cancelledQuantity }) => cancelledQuantity > 0n);
  if (cancelled.length === 0) return null;
  return JSON.stringify(
    Object.fromEntries(cancelled.map(({ id, cancelledQuantity }) => [id, cancelledQuantity.toString()])),
  );
}

/** Returns units as events store them. */
export function storedUnits(units: readonly { item: { id: string }; quantity: bigint }[]): StoredUnits[] {
  return units.map(({ item, quantity }) => ({ id: item.id, quantity: quantity.toString() }));
}
