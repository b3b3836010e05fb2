import type { GatewayName, GatewayReport } from "../../../infra/payment/payment-gateway.ts";
import type { Payment } from "../../payment/payment-row.ts";

/** What a gateway has stated, and how. */
export interface Report {
  gateway: GatewayName;
  /** RESPONSE: to a request of the service. FETCH: to a question about a payment. */
  source: "RESPONSE" | "WEBHOOK" | "FETCH";
  statement: GatewayReport;
  /** The payment that the gateway was asked about. Absent for webhooks. */
  paymentId?: string | undefined;
  /**
   * The row of `payment_request` that the gateway responded to. That ends a cancellation; a capture and a refund end with
   * an entry that has the id of the request.
   */
  requestId?: string | undefined;
  /** The webhook, which is marked as processed in the same transaction. */
  eventId?: string | undefined;
}

/** What became of a report. */
export interface AppliedReport {
  /** IGNORED: it is about no payment of the service. */
  outcome: "APPLIED" | "IGNORED";
  /**
   * The payment after the report: that which the gateway was asked about or else that which the report is about. Undefined
   * if it is unknown.
   */
  payment: Payment | undefined;
}
