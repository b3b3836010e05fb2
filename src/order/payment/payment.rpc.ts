import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { PaymentService } from "../../../gen/cartwright/payment/v1/payment_service_pb.ts";
import type { Call } from "../../kernel/call.ts";
import {
  attentionOf,
  toDiscrepancyMessage,
  toEntryMessage,
  toPaymentMessage,
} from "./payment-messages.rpc.ts";
import type { Payments } from "./payments.ts";

/** Creates the handlers of PaymentService. */
export function paymentRpc(payments: Payments, getCall: (context: HandlerContext) => Call) {
  return {
    async getPayment({ id }, context) {
      return { payment: toPaymentMessage(await payments.get(getCall(context), id.toLowerCase())) };
    },

    async listPayments({ orderId, attention, pageSize, pageToken }, context) {
      const request = {
        orderId: orderId.toLowerCase(),
        attention: attentionOf(attention),
        pageSize,
        pageToken,
      };
      const page = await payments.list(getCall(context), request);
      return {
        payments: page.items.map((payment) => toPaymentMessage(payment)),
        nextPageToken: page.nextPageToken,
      };
    },

    async listLedgerEntries({ orderId, paymentId, pageSize, pageToken }, context) {
      const request = {
        orderId: orderId.toLowerCase(),
        paymentId: paymentId.toLowerCase(),
        pageSize,
        pageToken,
      };
      const page = await payments.listEntries(getCall(context), request);
      return { entries: page.items.map(toEntryMessage), nextPageToken: page.nextPageToken };
    },

    async listLedgerDiscrepancies({ showResolved, orderId, pageSize, pageToken }, context) {
      const request = { showResolved, orderId: orderId.toLowerCase(), pageSize, pageToken };
      const page = await payments.listDiscrepancies(getCall(context), request);
      return { discrepancies: page.items.map(toDiscrepancyMessage), nextPageToken: page.nextPageToken };
    },

    async resolveLedgerDiscrepancy({ id, resolution, requestId }, context) {
      const request = { id: id.toLowerCase(), resolution };
      const discrepancy = await payments.resolveDiscrepancy(getCall(context), request, requestId);
      return { discrepancy: toDiscrepancyMessage(discrepancy) };
    },
  } satisfies Partial<ServiceImpl<typeof PaymentService>>;
}
