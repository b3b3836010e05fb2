import { sql } from "kysely";
import type { GatewayName } from "../../../infra/payment/payment-gateway.ts";
import { prepare } from "../../../infra/postgres/statement.ts";
import { DAY_MS, MINUTE_MS, SECOND_MS } from "../../../kernel/durations.ts";
import type { OrderStates } from "../../state/order-state.ts";
import type { PaymentRow } from "../payment-row.ts";

/** Why the gateway is queried about a payment. DOUBT: its outcome is unknown. SETTLE: to compare the sums. */
export type CheckReason = "DOUBT" | "SETTLE";

/** A payment about which the gateway is queried now. */
export interface CheckedPayment
  extends Pick<
    PaymentRow,
    "id" | "order_id" | "reference" | "amount_minor" | "currency" | "capture" | "state" | "created_at"
  > {
  gateway: GatewayName;
  check_reason: CheckReason | null;
  /** Number of queries since the last change, this one included. */
  checks: number;
  is_open: boolean;
  method_token: string | null;
  // The states of the order.
  payment_state: OrderStates["paymentState"];
  fulfillment_state: OrderStates["fulfillmentState"];
  closing: OrderStates["closing"];
}

/** Delays between two queries. The first one is longer than a call of the gateway. */
const BACKOFF: Readonly<Record<CheckReason, { firstMs: number; maxMs: number }>> = {
  DOUBT: { firstMs: MINUTE_MS, maxMs: 15 * MINUTE_MS },
  SETTLE: { firstMs: 10 * MINUTE_MS, maxMs: DAY_MS },
};
/** The least part of a delay, which jitter shortens: the time limit of a call and of what follows. */
const MIN_DELAY_MS = 45 * SECOND_MS;

const SELECT_CHECKED = sql`
  select payment.id, order_id, gateway, reference, amount_minor, payment.currency, capture, payment.state, is_open,
    method_token, check_reason, checks, payment.created_at, payment_state, fulfillment_state, closing
  from payment join orders on orders.id = order_id`;

const TAKE = prepare<
  [gateway: string, reason: string, now: Date, firstMs: number, maxMs: number, limit: number],
  { id: string }
>(
  (gateway, reason, now, firstMs, maxMs, limit) => sql`
    update payment set checks = checks + 1,
      check_at = ${now}::timestamptz + interval '1 ms' * greatest(
        ${MIN_DELAY_MS}, least(${firstMs}::float8 * 2 ^ least(checks, 20), ${maxMs}::float8) * (0.5 + random())
      )
    from (
      select id from payment where check_reason = ${reason} and check_at <= ${now} and gateway = ${gateway}
      order by check_at limit ${limit} for update skip locked
    ) as due
    where payment.id = due.id returning payment.id`,
);
/** Returns the statement that reads payments with the states of their orders. */
export const READ_CHECKED = prepare<[ids: readonly string[]], CheckedPayment>(
  (ids) => sql`${SELECT_CHECKED} where payment.id = any(${ids}::uuid[]) order by payment.id`,
);

/**
 * Returns the statement that takes payments about which the gateway has to be queried, those that are due longest first. They
 * are due again after exponential backoff with jitter, unless what the gateway states changes that. Those that another
 * process has locked are left to it: this never waits for a row, so it needs no lock of the orders.
 */
export function takeChecks(gateway: GatewayName, reason: CheckReason, now: Date, limit: number) {
  const { firstMs, maxMs } = BACKOFF[reason];
  return TAKE(gateway, reason, now, firstMs, maxMs, limit);
}
