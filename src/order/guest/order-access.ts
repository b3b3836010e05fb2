import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { notFound } from "../../kernel/errors.ts";
import { ownerScope, requestOwner, signInRequired } from "../../kernel/principal.ts";
import type { OrderTokens } from "./order-token.ts";

/** The access of a caller to one order. */
export interface OrderScope {
  /** The customer to whom the order must belong; null: any customer, or none. */
  readonly customerId: string | null;
  /** Whether the caller sees what only staff and services may see. */
  readonly isStaff: boolean;
  /** The owner of the caller's request_ids. */
  readonly requestOwner: string;
}

/**
 * Returns the access of a caller to an order, which may not exist: staff and services have access to all orders, the
 * holder of an order token to its order, and customers to their own.
 * @throws AppError unauthenticated for an anonymous caller without an order token, not_found for one with a token that is
 *   not that of the order or has expired
 */
export type OrderAccess = (call: Call, orderId: string) => OrderScope;

/** Creates the access control of single orders. */
export function createOrderAccess({ tokens, clock }: { tokens: OrderTokens; clock: Clock }): OrderAccess {
  return ({ principal, orderToken }, orderId) => {
    const holdsToken = orderToken !== "" && tokens.verify(orderToken, orderId, clock.now());
    if (principal.kind === "anonymous") {
      if (orderToken === "") throw signInRequired();
      if (!holdsToken) throw notFound("order", orderId);
      // Anonymous callers are one principal, but the guests of two orders are two callers.
      return { customerId: null, isStaff: false, requestOwner: `guest:${orderId.toLowerCase()}` };
    }
    const customerId = ownerScope(principal);
    return {
      customerId: holdsToken ? null : (customerId ?? null),
      isStaff: customerId === undefined,
      requestOwner: requestOwner(principal),
    };
  };
}
