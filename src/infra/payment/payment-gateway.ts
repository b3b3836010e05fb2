import type { Money } from "../../kernel/money.ts";

/** The kind of a fact about the money of a payment. */
export type LedgerEntryType =
  | "AUTHORIZED"
  | "AUTHORIZATION_FAILED"
  /** The rest of an authorization has ended, also after the last capture. */
  | "VOIDED"
  | "CAPTURED"
  | "CAPTURE_FAILED"
  | "REFUNDED"
  | "REFUND_FAILED"
  | "DISPUTED"
  | "DISPUTE_WON"
  | "DISPUTE_LOST";

/** All kinds of facts. */
export const LEDGER_ENTRY_TYPES: readonly LedgerEntryType[] = [
  "AUTHORIZED",
  "AUTHORIZATION_FAILED",
  "VOIDED",
  "CAPTURED",
  "CAPTURE_FAILED",
  "REFUNDED",
  "REFUND_FAILED",
  "DISPUTED",
  "DISPUTE_WON",
  "DISPUTE_LOST",
];

/** The time at which a payment is captured. */
export type CaptureMethod = "AT_SHIPMENT" | "AT_ORDER";

/** The names of the gateways. */
export type GatewayName = "sandbox" | "stripe";

/** A fact as a gateway states it. Gateway, type and reference identify it: a response and its webhook state the same one. */
export interface LedgerFact {
  type: LedgerEntryType;
  /**
   * AUTHORIZED and VOIDED: the payment at the gateway. CAPTURED and CAPTURE_FAILED: our capture, or else the charge.
   * Others: the failed attempt, the refund or the dispute at the gateway. At most 255 characters.
   */
  reference: string;
  amount: Money;
  time?: Date;
  /** Id of our request that has caused it. */
  requestId?: string;
  /** Reason of a failure. */
  note?: string;
}

/**
 * The step of a payment without money: only responses state it, since webhooks arrive in any order. PENDING: the gateway
 * has not decided.
 */
export type PaymentStep = "PENDING" | "ACTION_REQUIRED" | "CANCELLED" | "FAILED";

/** The reason for which a payment failed. */
export interface PaymentFailure {
  code: string;
  message: string;
}

/** What a gateway states about one payment. */
export interface GatewayReport {
  /** Our id of the payment; empty if the gateway does not state it. */
  paymentId: string;
  /** Id of the payment at the gateway. */
  reference: string;
  /** The amount of the payment. Undefined if the statement does not contain it. */
  amount?: Money | undefined;
  step?: PaymentStep | undefined;
  /** Allows the buyer's client to continue the payment. */
  clientSecret?: string | undefined;
  /** Time at which the authorization ends. */
  captureBefore?: Date | undefined;
  failure?: PaymentFailure | undefined;
  facts: readonly LedgerFact[];
  /** Sums in minor units, which `fetch` states to be compared with the ledger. */
  totals?: { captured: bigint; refunded: bigint } | undefined;
}

/** A webhook whose signature is valid. */
export interface WebhookEvent {
  /** Identifies the event among those of the gateway. */
  id: string;
  type: string;
  createTime: Date;
  /** Undefined for an event that is not about the money of a payment. */
  report: GatewayReport | undefined;
}

/** Limits of one call of a gateway. */
export interface GatewayCall {
  signal: AbortSignal;
  timeoutMs: number;
}

/** Why a call of a gateway failed. */
export type GatewayErrorKind =
  /** A timeout, a lost connection, a 5xx or 429 status: the gateway may have done the work. The call can be repeated. */
  | "UNKNOWN"
  /** The gateway has rejected the call, and has done nothing. */
  | "REJECTED"
  /** The response of the gateway is about another payment. */
  | "CONTRADICTION";

/** Code of the rejection of a capture in parts, if the payment can be captured only once. */
export const SINGLE_CAPTURE = "single_capture";

/** A failed call of a gateway. The message contains no secrets. A declined payment is no error but a fact. */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly kind: GatewayErrorKind;
  /** Code of the gateway; empty if it has none. */
  readonly code: string;

  constructor(
    kind: GatewayErrorKind,
    message: string,
    { code = "", cause }: { code?: string; cause?: unknown } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.code = code;
  }
}

/** A webhook without a valid signature, or with one that is too old. */
export class InvalidWebhookError extends Error {
  override readonly name = "InvalidWebhookError";
}

/** A payment to create. */
export interface IntentRequest {
  /** Our id: the idempotency key. */
  paymentId: string;
  orderId: string;
  amount: Money;
  capture: CaptureMethod;
  /** Token of the payment method, with which the payment is confirmed; empty: the buyer's client confirms it. */
  methodToken: string;
}

/** A payment at a gateway. */
export interface PaymentReference {
  /** Our id. */
  paymentId: string;
  /** Id at the gateway. */
  reference: string;
}

/**
 * A service that moves money. Methods that change something are idempotent by the id in their request: a repeat returns
 * the state of the payment and changes nothing. They are never called inside of transactions.
 *
 * All methods throw GatewayError.
 */
export interface PaymentGateway {
  readonly name: GatewayName;
  /** Whether a payment can be captured several times. */
  readonly capturesInParts: boolean;
  /** Public key for the buyer's client; empty for none. */
  readonly publishableKey: string;
  /** @throws AppError failed_precondition AMOUNT_NOT_CHARGEABLE for an amount or a currency that cannot be charged or refunded */
  assertChargeable(amount: Money): void;
  createIntent(request: IntentRequest, call: GatewayCall): Promise<GatewayReport>;
  /** Confirms a payment, after the second step of the buyer or with another method. */
  confirm(
    request: PaymentReference & { requestId: string; methodToken: string },
    call: GatewayCall,
  ): Promise<GatewayReport>;
  /**
   * @param request.isFinal whether the rest of the authorization ends
   * @throws GatewayError REJECTED SINGLE_CAPTURE for a capture that is not final of a payment that has one capture only
   */
  capture(
    request: PaymentReference & { captureId: string; amount: Money; isFinal: boolean },
    call: GatewayCall,
  ): Promise<GatewayReport>;
  /** Cancels what is not captured. For a payment that can no longer be cancelled it returns the state. */
  cancel(request: PaymentReference & { cancelId: string }, call: GatewayCall): Promise<GatewayReport>;
  refund(
    request: PaymentReference & { refundId: string; amount: Money },
    call: GatewayCall,
  ): Promise<GatewayReport>;
  /**
   * Returns all that the gateway states about a payment; undefined if there is none.
   * @param request.reference empty if it is unknown: the payment is searched by our id
   */
  fetch(request: PaymentReference, call: GatewayCall): Promise<GatewayReport | undefined>;
  /**
   * Verifies the signature of a webhook over its raw body, and reads it.
   * @param request.headers by lower-case names
   * @throws InvalidWebhookError when no secret matches, or the timestamp is more than 5 minutes away from `now`
   */
  verifyWebhook(request: { headers: ReadonlyMap<string, string>; body: Buffer; now: Date }): WebhookEvent;
  /** Reads a webhook that was verified and stored. */
  readWebhook(body: Buffer): WebhookEvent;
}
