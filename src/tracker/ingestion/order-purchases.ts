import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Ids } from "../../kernel/ids.ts";
import type { Money } from "../../kernel/money.ts";
import { endHolds } from "../hold/promotion-holds.ts";
import { type Purchase, purchaseUserId } from "./purchase-row.ts";
import { writePurchases } from "./write-purchases.ts";

/** An order of a promotion, as its purchases record it. */
interface OrderOfPromotion {
  orderId: string;
  promotionId: string;
  /** Empty for a guest. */
  customerId: string;
  clientAddress: string;
}

/** An order whose items become purchases of a promotion. */
export interface PromotionOrder extends OrderOfPromotion {
  /** Its items with units that are not cancelled. */
  items: readonly { productId: string; amount: Money }[];
}

/** Units of a recorded order that are cancelled or returned. */
export interface OrderReversal extends OrderOfPromotion {
  items: readonly {
    productId: string;
    /** Amount of the units. */
    amount: Money;
    /** Whether no unit of the item is left: only then it is one purchase less. */
    isLast: boolean;
  }[];
}

/** Records the items of orders as sales, and ends the holds of the orders. */
export async function recordOrders(
  tx: Tx,
  orders: readonly PromotionOrder[],
  { ids, now }: { ids: Ids; now: Date },
): Promise<void> {
  await endHolds(
    tx,
    orders.map(({ orderId }) => orderId),
  );
  const sales = orders.flatMap(({ items, ...order }) =>
    items.map(
      ({ productId, amount }): Purchase => ({
        ...purchaseOf(order, { ids, now }),
        productId,
        kind: "SALE",
        amount,
        partial: false,
      }),
    ),
  );
  await writePurchases(tx, sales);
}

/** Records reversals of units of orders. */
export async function reverseOrders(
  tx: Tx,
  reversals: readonly OrderReversal[],
  { ids, now }: { ids: Ids; now: Date },
): Promise<void> {
  const purchases = reversals.flatMap(({ items, ...order }) =>
    items.map(
      ({ productId, amount, isLast }): Purchase => ({
        ...purchaseOf(order, { ids, now }),
        productId,
        kind: "REVERSAL",
        amount,
        partial: !isLast,
      }),
    ),
  );
  await writePurchases(tx, purchases);
}

function purchaseOf(
  { orderId, promotionId, customerId, clientAddress }: OrderOfPromotion,
  { ids, now }: { ids: Ids; now: Date },
): Omit<Purchase, "productId" | "kind" | "amount" | "partial"> {
  return {
    eventId: ids(),
    userId: purchaseUserId({ customerId, orderId }),
    promotionId,
    orderId,
    clientAddress,
    purchaseTime: now,
    createTime: now,
  };
}
