import type { SeedOrder } from "../generate/customers.ts";
import type { OrderHistory } from "./order-history.ts";

/** An item of an order, and what became of its units. */
export interface PlacedItem {
  /** From 1. */
  position: number;
  product: { id: string; sku: string; name: string; priceMinor: bigint };
  quantity: number;
  cancelled: number;
  fulfilled: number;
  returned: number;
  totalMinor: bigint;
}

/** An order with the lines that the stock allows, their prices, and its history. */
export interface PlacedOrder {
  order: SeedOrder;
  id: string;
  customerId: string;
  promotionId: string | null;
  createdAt: string;
  items: PlacedItem[];
  totalMinor: bigint;
  history: OrderHistory;
}
