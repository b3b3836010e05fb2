import { runMutation } from "../../infra/postgres/idempotency/run-mutation.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Page, PageTokens } from "../../kernel/page.ts";
import { createOrderAccess } from "../guest/order-access.ts";
import type { OrderTokens } from "../guest/order-token.ts";
import type { UpdateOptions } from "../order.ts";
import { listRefunds, type Refund, type RefundListRequest } from "./list-refunds.ts";
import { type RefundedOrder, type RefundOptions, type RefundRequest, refundOrder } from "./refund-order.ts";

/** The refunds of orders. */
export interface Refunds {
  /** Refunds a part of an order. @throws AppError as `refundOrder` does */
  refund(call: Call, request: RefundRequest, options: UpdateOptions): Promise<RefundedOrder>;
  /** Returns a page of the refunds of an order, oldest first. @throws AppError as `listRefunds` does */
  list(call: Call, request: RefundListRequest): Promise<Page<Refund>>;
}

/** Dependencies of the refunds. */
export interface RefundDependencies extends Omit<RefundOptions, "orderAccess"> {
  db: Database;
  tokens: PageTokens;
  orderTokens: OrderTokens;
}

/** Creates the refunds. */
export function createRefunds(dependencies: RefundDependencies): Refunds {
  const { db, clock, orderTokens } = dependencies;
  const orderAccess = createOrderAccess({ tokens: orderTokens, clock });
  const options = { ...dependencies, orderAccess };
  return {
    async refund(call, request, { requestId, validateOnly }) {
      // First, so that only a caller with access gets the response to an earlier request.
      const { requestOwner: owner } = orderAccess(call, request.id);
      const mutation = { method: "RefundOrder", owner, requestId, validateOnly };
      const { result } = await runMutation(db, call, mutation, request, (tx) =>
        refundOrder(options, tx, call, request),
      );
      return validateOnly ? { ...result, refund: { ...result.refund, id: "" } } : result;
    },
    list: (call, request) => listRefunds(options, call, request),
  };
}
