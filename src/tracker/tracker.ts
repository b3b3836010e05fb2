import { sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import type { Call } from "../kernel/call.ts";
import { AppError, notFound } from "../kernel/errors.ts";
import type { Money } from "../kernel/money.ts";
import type { Page } from "../kernel/page.ts";
import { type Purchase, type PurchaseRow, purchaseFromRow } from "./ingestion/purchase-row.ts";
import { type NewPurchase, type RecordedPurchase, recordPurchases } from "./ingestion/record-purchases.ts";
import { writePurchases } from "./ingestion/write-purchases.ts";
import { lockPromotions, promotionNotRunning } from "./promotion/lock-promotions.ts";
import { createPromotions, type PromotionOptions, type Promotions } from "./promotion/promotion.ts";
import type { Promotion } from "./promotion/promotion-row.ts";
import { listPurchases, type PurchaseListRequest } from "./stats/purchase-list.ts";
import { type PurchaseStats, type PurchaseStatsRequest, readPurchaseStats } from "./stats/purchase-stats.ts";

export type { Purchase } from "./ingestion/purchase-row.ts";
export type { RecordedPurchase } from "./ingestion/record-purchases.ts";
export type { Promotion, PromotionState } from "./promotion/promotion-row.ts";

/** A purchase as a caller sends it. */
export type PurchaseInput = Omit<NewPurchase, "orderId" | "kind" | "clientAddress">;

/** An order whose items are purchases of a promotion. */
export interface PromotionOrder {
  orderId: string;
  promotionId: string;
  /** Empty for a guest. */
  customerId: string;
  items: readonly { productId: string; amount: Money }[];
  now: Date;
}

/** Promotions and their purchases: each is recorded once, counted exactly and limited strictly. */
export interface Tracker {
  readonly promotions: Promotions;
  /**
   * Records purchases, all of them or none.
   * @param path returns the path of a purchase in the request, such as `purchases[3]`
   * @throws AppError as `recordPurchases` does
   */
  record(
    call: Call,
    purchases: readonly PurchaseInput[],
    path: (index: number) => string,
  ): Promise<RecordedPurchase[]>;
  /** Returns a page of purchases, newest first. */
  listPurchases(call: Call, request: PurchaseListRequest): Promise<Page<Purchase>>;
  /** Returns statistics of purchases. @throws AppError as `readPurchaseStats` does */
  getStats(call: Call, request: PurchaseStatsRequest): Promise<PurchaseStats>;
  /**
   * Records the items of an order as purchases, in the order's transaction.
   * @throws AppError as `recordPurchases` does; failed_precondition for a guest when the promotion limits purchases per
   *   user
   */
  recordOrder(tx: Tx, call: Call, order: PromotionOrder): Promise<void>;
  /** Reverses the purchases of an order, in the transaction that cancels it. */
  reverseOrder(tx: Tx, call: Call, orderId: string, now: Date): Promise<void>;
}

/** Dependencies of the tracker. */
export type TrackerOptions = PromotionOptions;

/** Creates the tracker. */
export function createTracker(options: TrackerOptions): Tracker {
  const { db, ids, clock } = options;
  return {
    promotions: createPromotions(options),
    listPurchases: (call, request) => listPurchases(options, call, request),
    getStats: (call, request) => readPurchaseStats(options, call, request),

    record(call, purchases, path) {
      const sales = purchases.map(
        (purchase): NewPurchase => ({
          ...purchase,
          orderId: "",
          kind: "SALE",
          clientAddress: call.clientAddress,
        }),
      );
      return db.transact(call, (tx) => recordPurchases(tx, sales, clock.now(), path));
    },

    async recordOrder(tx, call, { orderId, promotionId, customerId, items, now }) {
      const promotion = (await lockPromotions(tx, [promotionId], now)).get(promotionId);
      if (promotion === undefined) throw notFound("promotion", promotionId);
      assertAcceptsOrders(promotion, customerId);
      const sales = items.map(
        ({ productId, amount }): NewPurchase => ({
          eventId: ids(),
          userId: customerId || `guest:${orderId}`,
          promotionId,
          productId,
          orderId,
          kind: "SALE",
          amount,
          clientAddress: call.clientAddress,
          purchaseTime: now,
        }),
      );
      await recordPurchases(tx, sales, now, () => "order");
    },

    async reverseOrder(tx, call, orderId, now) {
      const sales = await tx.query(sql<PurchaseRow>`
        select * from purchase where order_id = ${orderId} and kind = 'SALE'`);
      const reversals = sales.map(
        (row): Purchase => ({
          ...purchaseFromRow(row),
          eventId: ids(),
          kind: "REVERSAL",
          clientAddress: call.clientAddress,
          purchaseTime: now,
          createTime: now,
        }),
      );
      await writePurchases(tx, reversals);
    },
  };
}

function assertAcceptsOrders({ id, state, purchaseLimitPerUser }: Promotion, customerId: string): void {
  if (state === "SCHEDULED") throw promotionNotRunning(id, "has not started");
  if (state === "ENDED") throw promotionNotRunning(id, "has ended");
  if (customerId !== "" || purchaseLimitPerUser === 0n) return;
  const description = "limits the purchases of each customer, so the order needs a customer_id";
  throw new AppError("failed_precondition", `Promotion ${id} ${description}.`, {
    reason: "CUSTOMER_REQUIRED",
    preconditions: [{ type: "CUSTOMER", subject: `promotions/${id}`, description }],
  });
}
