import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  LedgerDiscrepancyKind,
  type LedgerDiscrepancySchema,
  type LedgerEntrySchema,
  LedgerEntryType as LedgerEntryTypeMessage,
  LedgerSource as LedgerSourceMessage,
} from "../../../gen/cartwright/payment/v1/ledger_pb.ts";
import {
  CaptureMethod as CaptureMethodMessage,
  type PaymentSchema,
  PaymentState as PaymentStateMessage,
} from "../../../gen/cartwright/payment/v1/payment_pb.ts";
import { PaymentAttention as PaymentAttentionMessage } from "../../../gen/cartwright/payment/v1/payment_service_pb.ts";
import type { CaptureMethod, LedgerEntryType } from "../../infra/payment/payment-gateway.ts";
import type { Discrepancy, DiscrepancyKind } from "../ledger/discrepancies.ts";
import type { LedgerEntry, LedgerSource } from "../ledger/list-entries.ts";
import type { PaymentState } from "../ledger/payment-money.ts";
import type { PaymentAttention, ReadPayment } from "./list-payments.ts";

const STATES: Readonly<Record<PaymentState, PaymentStateMessage>> = {
  PENDING: PaymentStateMessage.PENDING,
  ACTION_REQUIRED: PaymentStateMessage.ACTION_REQUIRED,
  AUTHORIZED: PaymentStateMessage.AUTHORIZED,
  CAPTURED: PaymentStateMessage.CAPTURED,
  FAILED: PaymentStateMessage.FAILED,
  CANCELLED: PaymentStateMessage.CANCELLED,
};
const CAPTURE_METHODS: Readonly<Record<CaptureMethod, CaptureMethodMessage>> = {
  AT_SHIPMENT: CaptureMethodMessage.AT_SHIPMENT,
  AT_ORDER: CaptureMethodMessage.AT_ORDER,
};
const ENTRY_TYPES: Readonly<Record<LedgerEntryType, LedgerEntryTypeMessage>> = {
  AUTHORIZED: LedgerEntryTypeMessage.AUTHORIZED,
  AUTHORIZATION_FAILED: LedgerEntryTypeMessage.AUTHORIZATION_FAILED,
  VOIDED: LedgerEntryTypeMessage.VOIDED,
  CAPTURED: LedgerEntryTypeMessage.CAPTURED,
  CAPTURE_FAILED: LedgerEntryTypeMessage.CAPTURE_FAILED,
  REFUNDED: LedgerEntryTypeMessage.REFUNDED,
  REFUND_FAILED: LedgerEntryTypeMessage.REFUND_FAILED,
  DISPUTED: LedgerEntryTypeMessage.DISPUTED,
  DISPUTE_WON: LedgerEntryTypeMessage.DISPUTE_WON,
  DISPUTE_LOST: LedgerEntryTypeMessage.DISPUTE_LOST,
};
const SOURCES: Readonly<Record<LedgerSource, LedgerSourceMessage>> = {
  RESPONSE: LedgerSourceMessage.RESPONSE,
  WEBHOOK: LedgerSourceMessage.WEBHOOK,
  FETCH: LedgerSourceMessage.FETCH,
  STAFF: LedgerSourceMessage.STAFF,
  MIGRATION: LedgerSourceMessage.MIGRATION,
};
const KINDS: Readonly<Record<DiscrepancyKind, LedgerDiscrepancyKind>> = {
  AMOUNT_CONFLICT: LedgerDiscrepancyKind.AMOUNT_CONFLICT,
  CURRENCY_MISMATCH: LedgerDiscrepancyKind.CURRENCY_MISMATCH,
  UNKNOWN_PAYMENT: LedgerDiscrepancyKind.UNKNOWN_PAYMENT,
  WRONG_PAYMENT: LedgerDiscrepancyKind.WRONG_PAYMENT,
  CAPTURED_MISMATCH: LedgerDiscrepancyKind.CAPTURED_MISMATCH,
  REFUNDED_MISMATCH: LedgerDiscrepancyKind.REFUNDED_MISMATCH,
  OVERPAID: LedgerDiscrepancyKind.OVERPAID,
  REQUEST_FAILED: LedgerDiscrepancyKind.REQUEST_FAILED,
};

/** Returns why payments need a person, as a filter names it; undefined for UNSPECIFIED, which matches all. */
export function attentionOf(message: PaymentAttentionMessage): PaymentAttention | undefined {
  switch (message) {
    case PaymentAttentionMessage.IN_DOUBT:
      return "IN_DOUBT";
    case PaymentAttentionMessage.REQUEST_FAILED:
      return "REQUEST_FAILED";
    case PaymentAttentionMessage.AUTHORIZATION_ENDS:
      return "AUTHORIZATION_ENDS";
    default:
      return undefined;
  }
}

/**
 * Returns the message of a payment.
 * @param publishableKey public key of the gateway
 */
export function toPaymentMessage(
  payment: ReadPayment,
  publishableKey = "",
): MessageInitShape<typeof PaymentSchema> {
  const { id, orderId, gateway, amount, disputed, clientSecret, failure, inDoubt, isForStaff } = payment;
  return {
    id,
    orderId,
    gateway,
    state: STATES[payment.state],
    amount,
    authorizedAmount: payment.authorized,
    capturedAmount: payment.captured,
    refundedAmount: payment.refunded,
    disputedAmount: disputed,
    requestedRefundAmount: payment.requestedRefund,
    captureMethod: gateway === "manual" ? CaptureMethodMessage.UNSPECIFIED : CAPTURE_METHODS[payment.capture],
    ...(clientSecret !== "" && { nextAction: { clientSecret, publishableKey } }),
    ...(failure && { failure }),
    inDoubt,
    ...(payment.captureBefore && { captureBeforeTime: timestampFromDate(payment.captureBefore) }),
    gatewayReference: isForStaff ? payment.reference : "",
    manualReference: isForStaff ? payment.manualReference : "",
    createTime: timestampFromDate(payment.createTime),
    updateTime: timestampFromDate(payment.updateTime),
  };
}

/** Returns the message of an entry of the ledger. */
export function toEntryMessage(entry: LedgerEntry): MessageInitShape<typeof LedgerEntrySchema> {
  const { type, source, gatewayTime, createTime, ...fields } = entry;
  return {
    ...fields,
    type: ENTRY_TYPES[type],
    source: SOURCES[source],
    ...(gatewayTime && { gatewayTime: timestampFromDate(gatewayTime) }),
    createTime: timestampFromDate(createTime),
  };
}

/** Returns the message of a discrepancy. */
export function toDiscrepancyMessage(
  discrepancy: Discrepancy,
): MessageInitShape<typeof LedgerDiscrepancySchema> {
  const { kind, expected, actual, createTime, resolveTime, ...fields } = discrepancy;
  return {
    ...fields,
    kind: KINDS[kind],
    ...(expected && { expected }),
    ...(actual && { actual }),
    createTime: timestampFromDate(createTime),
    ...(resolveTime && { resolveTime: timestampFromDate(resolveTime) }),
  };
}
