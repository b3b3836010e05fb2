import type { Tx } from "../infra/postgres/postgres.ts";
import type { Call } from "../kernel/call.ts";
import type { Page } from "../kernel/page.ts";
import { type HeldOrder, type HoldRelease, holdOrders, releaseHolds } from "./hold/promotion-holds.ts";
import {
  type OrderReversal,
  type PromotionOrder,
  recordOrders,
  reverseOrders,
} from "./ingestion/order-purchases.ts";
import type { Purchase } from "./ingestion/purchase-row.ts";
import { type NewPurchase, type RecordedPurchase, recordPurchases } from "./ingestion/record-purchases.ts";
import { createPromotions, type PromotionOptions, type Promotions } from "./promotion/promotion.ts";
import {
  type PromotedOrderRequest,
  type PromotionLimits,
  readPromotionLimits,
} from "./promotion/promotion-limits.ts";
import { listPurchases, type PurchaseListRequest } from "./stats/purchase-list.ts";
import { type PurchaseStats, type PurchaseStatsRequest, readPurchaseStats } from "./stats/purchase-stats.ts";

export type { HeldOrder, HoldRelease } from "./hold/promotion-holds.ts";
export type { OrderReversal, PromotionOrder } from "./ingestion/order-purchases.ts";
export type { Purchase } from "./ingestion/purchase-row.ts";
export type { RecordedPurchase } from "./ingestion/record-purchases.ts";
export type { PromotedOrderRequest, PromotionLimits } from "./promotion/promotion-limits.ts";
export type { Promotion, PromotionState } from "./promotion/promotion-row.ts";

/** A purchase as a caller sends it. */
export type PurchaseInput = Omit<NewPurchase, "orderId" | "kind" | "clientAddress">;

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
  /**
   * Takes the purchases of new, unpaid orders from the limits of their promotions until they are recorded or released.
   * The orders are written, and `PromotionLimits.take` has accepted them in the same transaction, with locks.
   */
  holdOrders(tx: Tx, orders: readonly HeldOrder[]): Promise<void>;
  /**
   * Returns held purchases of unpaid orders to the limits of their promotions: when orders are cancelled or expire, or
   * the last unit of an item is cancelled. The orders are locked, and the stock is not yet. Each order occurs once.
   */
  releaseHolds(tx: Tx, releases: readonly HoldRelease[]): Promise<void>;
  /**
   * Records the items of orders as purchases when the orders are paid, and ends their holds. Limits are not checked
   * again, and promotions may have ended. The orders are locked.
   */
  recordOrders(tx: Tx, orders: readonly PromotionOrder[], now: Date): Promise<void>;
  /**
   * Reverses units of recorded orders that are cancelled or returned. Amounts are lowered by each reversal, the number
   * of purchases and the limits by the last one of an item.
   */
  reverseOrders(tx: Tx, reversals: readonly OrderReversal[], now: Date): Promise<void>;
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

    holdOrders,
    releaseHolds,
    recordOrders: (tx, orders, now) => recordOrders(tx, orders, { ids, now }),
    reverseOrders: (tx, reversals, now) => reverseOrders(tx, reversals, { ids, now }),
  };
}
