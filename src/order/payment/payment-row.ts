import { sql } from "kysely";
import type { CaptureMethod, GatewayName, PaymentFailure } from "../../infra/payment/payment-gateway.ts";
import type { Money } from "../../kernel/money.ts";
import type { PaymentState } from "../ledger/payment-money.ts";

/** A payment of an order. */
export interface Payment {
  id: string;
  orderId: string;
  gateway: GatewayName | "manual";
  state: PaymentState;
  amount: Money;
  authorized: Money;
  captured: Money;
  /** Refunds and lost disputes. */
  refunded: Money;
  /** Disputes that are not decided. */
  disputed: Money;
  requestedRefund: Money;
  capture: CaptureMethod;
  /** Empty unless the buyer's client can continue the payment. */
  clientSecret: string;
  failure: PaymentFailure | undefined;
  /** Whether the outcome of a request to the gateway is unknown. */
  inDoubt: boolean;
  captureBefore: Date | undefined;
  /** Id at the gateway; empty until it has responded. */
  reference: string;
  manualReference: string;
  createTime: Date;
  updateTime: Date;
}

/** A payment as `SELECT_PAYMENT` returns it. */
export interface PaymentRow {
  id: string;
  order_id: string;
  gateway: GatewayName | "manual";
  reference: string | null;
  amount_minor: string;
  currency: string;
  capture: CaptureMethod;
  state: PaymentState;
  authorized_minor: string;
  captured_minor: string;
  refunded_minor: string;
  disputed_minor: string;
  lost_minor: string;
  requested_refund_minor: string;
  client_secret: string | null;
  failure_code: string | null;
  failure_message: string | null;
  manual_reference: string | null;
  capture_before: string | null;
  check_reason: "DOUBT" | "SETTLE" | null;
  has_dead_request: boolean;
  created_at: string;
  updated_at: string;
}

/** Selects payments; a condition follows. */
export const SELECT_PAYMENT = sql`
  select payment.*, exists (
    select from payment_request where payment_id = payment.id and payment_request.state = 'DEAD'
  ) as has_dead_request
  from payment`;

const NEEDS_BUYER: ReadonlySet<PaymentState> = new Set(["PENDING", "ACTION_REQUIRED", "FAILED"]);

/** Returns the payment of a row. */
export function paymentFromRow(row: PaymentRow): Payment {
  const money = (minorUnits: string | bigint): Money => ({
    currencyCode: row.currency,
    minorUnits: BigInt(minorUnits),
  });
  const { failure_code: code, failure_message: message } = row;
  return {
    id: row.id,
    orderId: row.order_id,
    gateway: row.gateway,
    state: row.state,
    amount: money(row.amount_minor),
    authorized: money(row.authorized_minor),
    captured: money(row.captured_minor),
    refunded: money(BigInt(row.refunded_minor) + BigInt(row.lost_minor)),
    disputed: money(row.disputed_minor),
    requestedRefund: money(row.requested_refund_minor),
    capture: row.capture,
    clientSecret: NEEDS_BUYER.has(row.state) ? (row.client_secret ?? "") : "",
    failure: code === null && message === null ? undefined : { code: code ?? "", message: message ?? "" },
    inDoubt: row.check_reason === "DOUBT" || row.has_dead_request,
    captureBefore: row.capture_before === null ? undefined : new Date(row.capture_before),
    reference: row.reference ?? "",
    manualReference: row.manual_reference ?? "",
    createTime: new Date(row.created_at),
    updateTime: new Date(row.updated_at),
  };
}
