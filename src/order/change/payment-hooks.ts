import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Order } from "../order-types.ts";

/** What the payments of orders do in the transactions that change the orders. The orders are locked. */
export interface PaymentHooks {
  /**
   * Checks, before units of an authorized order are shipped, that a part of what is due can be captured.
   * @throws AppError failed_precondition
   */
  assertCapturable(tx: Tx, order: Order, now: Date): Promise<void>;
  /**
   * Requests the capture of what is due of an authorized order, once units of it are shipped. If nothing is, what is left of
   * the authorization is cancelled.
   */
  requestCapture(tx: Tx, order: Order, now: Date): Promise<void>;
  /**
   * Releases money that orders do not need any more, since they are cancelled or paid otherwise: what is not captured is
   * cancelled, and the rest is refunded.
   * @param orders after their change
   * @returns the orders after what that has changed of them
   */
  releaseExcess(tx: Tx, call: Call, orders: readonly Order[]): Promise<Order[]>;
}
