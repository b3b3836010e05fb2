import { sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import type { Call } from "../kernel/call.ts";
import type { Money } from "../kernel/money.ts";
import type { Page } from "../kernel/page.ts";
import { type Purchase, type PurchaseRow, purchaseFromRow } from "./ingestion/purchase-row.ts";
import { type NewPurchase, type RecordedPurchase, recordPurchases } from "./ingestion/record-purchases.ts";
import { writePurchases } from "./ingestion/write-purchases.ts";
import { createPromotions, type PromotionOptions, type Promotions } from "./promotion/promotion.ts";
import {
  type PromotedOrderRequest,
  type PromotionLimits,
  readPromotionLimits,
} from "./promotion/promotion-limits.ts";
import { listPurchases, type PurchaseListRequest } from "./stats/purchase-list.ts";
import { type PurchaseStats, type PurchaseStatsRequest, readPurchaseStats } from "./stats/purchase-stats.ts";

export type { Purchase } from "./ingestion/purchase-row.ts";
export type { RecordedPurchase } from "./ingestion/record-purchases.ts";
export type { PromotedOrderRequest, PromotionLimits } from "./promotion/promotion-limits.ts";
export type { Promotion, PromotionState } from "./promotion/promotion-row.ts";

/** A purchase as a caller sends it. */
export type PurchaseInput = Omit<NewPurchase, "orderId" | "kind" | "clientAddress">;

/** An order whose items are purchases of a promotion. */
export interface PromotionOrder {
  orderId: string;
  promotionId: string;
  /** Empty for a guest. */
  customerId: string;
  clientAddress: string;
  items: readonly { productId: string; amount: Money }[];
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
   * Reads which purchases the promotions of orders still allow.
   * @param isLocked whether promotions with limits stay locked until the transaction ends
   */
  readPromotionLimits(
    tx: Tx,
    orders: readonly PromotedOrderRequest[],
    isLocked: boolean,
  ): Promise<PromotionLimits>;
  /** Records the items of orders as purchases, in the orders' transaction. `PromotionLimits.take` must have accepted them. */
  recordOrders(tx: Tx, orders: readonly PromotionOrder[], now: Date): Promise<void>;
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

    readPromotionLimits: (tx, orders, isLocked) => readPromotionLimits(tx, orders, clock.now(), isLocked),

    async recordOrders(tx, orders, now) {
      const sales = orders.flatMap(({ orderId, promotionId, customerId, clientAddress, items }) =>
        items.map(
          ({ productId, amount }): Purchase => ({
            eventId: ids(),
            userId: customerId || `guest:${orderId}`,
            promotionId,
            productId,
            orderId,
            kind: "SALE",
            amount,
            clientAddress,
            purchaseTime: now,
            createTime: now,
          }),
        ),
      );
      await writePurchases(tx, sales);
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
