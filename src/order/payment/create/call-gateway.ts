import {
  type GatewayCall,
  GatewayError,
  type GatewayReport,
  type PaymentGateway,
} from "../../../infra/payment/payment-gateway.ts";
import type { Log } from "../../../kernel/log.ts";
import type { PaymentRow } from "../payment-row.ts";

/** Dependencies of calling the gateway while a caller waits. */
export interface GatewayOptions {
  gateway: PaymentGateway;
  /** Time limit of a call, in milliseconds. */
  timeoutMs: number;
  log: Log;
  /** Logs calls without a response, of which there are many while the gateway is down. */
  warn: Log["warn"];
}

/**
 * Returns what the gateway states in response to a call about a payment; undefined if its outcome is unknown. A rejected
 * payment has failed. The call goes on when the caller of the service has gone: its outcome has to be recorded.
 */
export async function callGateway(
  { gateway, timeoutMs, log, warn }: GatewayOptions,
  { id: paymentId, reference }: Pick<PaymentRow, "id" | "reference">,
  request: (gateway: PaymentGateway, call: GatewayCall) => Promise<GatewayReport>,
): Promise<GatewayReport | undefined> {
  try {
    return await request(gateway, { signal: AbortSignal.timeout(timeoutMs), timeoutMs });
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    const { kind, code, message } = error;
    if (kind === "REJECTED") {
      const failure = { code: code || "rejected", message };
      return { paymentId, reference: reference ?? "", step: "FAILED", failure, facts: [] };
    }
    const fields = { err: error, paymentId, gateway: gateway.name };
    if (kind === "CONTRADICTION") log.error(fields, "Gateway responded about another payment");
    else warn(fields, "Gateway did not respond; its outcome is requested later");
    return undefined;
  }
}
