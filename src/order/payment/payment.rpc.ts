import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { PaymentService } from "../../../gen/cartwright/payment/v1/payment_service_pb.ts";
import type { Money as MoneyMessage } from "../../../gen/cartwright/type/v1/money_pb.ts";
import type { Call } from "../../kernel/call.ts";
import type { Money } from "../../kernel/money.ts";
import type { ReadPayment } from "./list-payments.ts";
import {
  attentionOf,
  toDiscrepancyMessage,
  toEntryMessage,
  toPaymentMessage,
} from "./payment-messages.rpc.ts";
import type { Payments } from "./payments.ts";

/** Creates the handlers of PaymentService. */
export function paymentRpc(payments: Payments, getCall: (context: HandlerContext) => Call) {
  const toMessage = (payment: ReadPayment) => toPaymentMessage(payment, payments.publishableKey);
  return {
    async createPayment({ payment, paymentMethod, requestId, validateOnly }, context) {
      const creation = {
        orderId: payment?.orderId.toLowerCase() ?? "",
        amount: toMoney(payment?.amount),
        methodToken: paymentMethod,
        requestId: requestId.toLowerCase(),
        validateOnly,
      };
      return { payment: toMessage(await payments.create(getCall(context), creation)) };
    },

    async confirmPayment({ id, paymentMethod, requestId }, context) {
      const confirmation = {
        id: id.toLowerCase(),
        methodToken: paymentMethod,
        requestId: requestId.toLowerCase(),
      };
      return { payment: toMessage(await payments.confirm(getCall(context), confirmation)) };
    },

    async cancelPayment({ id, requestId }, context) {
      const cancellation = { id: id.toLowerCase(), requestId };
      return { payment: toMessage(await payments.cancel(getCall(context), cancellation)) };
    },

    async capturePayment({ id, amount, requestId }, context) {
      const capture = { id: id.toLowerCase(), amount: toMoney(amount), requestId };
      return { payment: toMessage(await payments.capture(getCall(context), capture)) };
    },

    async getPayment({ id }, context) {
      return { payment: toMessage(await payments.get(getCall(context), id.toLowerCase())) };
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
        payments: page.items.map(toMessage),
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

function toMoney(message: MoneyMessage | undefined): Money | undefined {
  return message && { currencyCode: message.currencyCode, minorUnits: message.minorUnits };
}
