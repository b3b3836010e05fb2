import { sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import type { Call } from "../kernel/call.ts";
import { AppError, notFound } from "../kernel/errors.ts";
import type { Money } from "../kernel/money.ts";
import { createPromotions, lockPromotions, notRunning, type TrackerOptions } from "./promotion.ts";
import {
  type NewPurchase,
  type PurchaseRow,
  purchaseFromRow,
  type RecordedPurchase,
  recordPurchases,
  writePurchases,
} from "./purchase.ts";
import { createPurchaseReads } from "./purchase-read.ts";

/** An order whose items count as purchases of a promotion. */
export interface TrackedOrder {
  orderId: string;
  promotionId: string;
  /** Empty for a guest. */
  customerId: string;
  items: readonly { productId: string; amount: Money }[];
  now: Date;
}

/** A purchase as a caller records it; the rest is the server's. */
export type PurchaseInput = Omit<NewPurchase, "orderId" | "kind" | "clientAddress">;

/** Purchases of promotions: recorded once each, counted exactly, limited strictly. */
export function createTracker(options: TrackerOptions) {
  const { db, ids, clock } = options;
  return {
    promotions: createPromotions(options),
    ...createPurchaseReads(options),

    /** Writes purchases down, all or none. @param path names one of them in errors */
    record(
      call: Call,
      purchases: readonly PurchaseInput[],
      path: (index: number) => string,
    ): Promise<RecordedPurchase[]> {
      const sales = purchases.map((purchase) => ({
        ...purchase,
        orderId: "",
        kind: "SALE" as const,
        clientAddress: call.clientAddress,
      }));
      return db.transact(call, (tx) => recordPurchases(tx, sales, clock.now(), path));
    },

    /** For orders, in their transaction: each item is a sale of the promotion, and its limits hold. */
    async recordOrder(tx: Tx, call: Call, order: TrackedOrder): Promise<void> {
      const { orderId, promotionId, customerId, items, now } = order;
      const promotion = (await lockPromotions(tx, [promotionId], now)).get(promotionId);
      if (promotion === undefined) throw notFound("promotion", promotionId);
      if (promotion.state === "SCHEDULED") throw notRunning(promotionId, "has not started");
      if (promotion.state === "ENDED") throw notRunning(promotionId, "has ended");
      if (customerId === "" && promotion.purchaseLimitPerUser > 0n) {
        const description = "has a limit for each customer, so the order needs a customer_id";
        throw new AppError("failed_precondition", `Promotion ${promotionId} ${description}.`, {
          reason: "CUSTOMER_REQUIRED",
          preconditions: [{ type: "CUSTOMER", subject: `promotions/${promotionId}`, description }],
        });
      }
      const sales = items.map(({ productId, amount }) => ({
        ...{ eventId: ids(), promotionId, orderId, productId, amount, purchaseTime: now },
        userId: customerId || `guest:${orderId}`,
        kind: "SALE" as const,
        clientAddress: call.clientAddress,
      }));
      await recordPurchases(tx, sales, now, () => "order");
    },

    /** For orders, in the transaction that cancels one: its sales are taken off the totals. */
    async reverseOrder(tx: Tx, call: Call, orderId: string, now: Date): Promise<void> {
      const sales = await tx.query(sql<PurchaseRow>`
        select * from purchase where order_id = ${orderId} and kind = 'SALE'`);
      const reversals = sales.map((row) => ({
        ...purchaseFromRow(row),
        eventId: ids(),
        kind: "REVERSAL" as const,
        clientAddress: call.clientAddress,
        purchaseTime: now,
        createTime: now,
      }));
      await writePurchases(tx, reversals);
    },
  };
}

/** The tracker as other rooms see it. */
export type Tracker = ReturnType<typeof createTracker>;
