import type { PaymentGateway } from "../../infra/payment/payment-gateway.ts";
import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError, assertEtag, invalidField } from "../../kernel/errors.ts";
import type { Ids } from "../../kernel/ids.ts";
import type { Money } from "../../kernel/money.ts";
import { actorOf } from "../change/actor.ts";
import { applyChanges, type OrderChange, timeOfChange } from "../change/apply-changes.ts";
import { assertDistinctItems } from "../change/item-units.ts";
import { lockOrder } from "../change/lock-orders.ts";
import { type ReturnOptions, returnOrderItems } from "../fulfillment/return-items.ts";
import { type EnqueueRequests, insertRequests } from "../ledger/insert-requests.ts";
import { insertEntries, type LedgerPayment, readLedgerPayments } from "../ledger/ledger-rows.ts";
import { refundableAmount } from "../ledger/refundable.ts";
import { orderMoneyOf } from "../ledger/report/order-change.ts";
import { completePayment, updatePayments } from "../ledger/update-payments.ts";
import type { Order } from "../order-types.ts";
import { assertTransition } from "../state/transitions.ts";
import { allocateRefund, type RefundSelection } from "./allocate-refund.ts";
import { choosePayment, type PaymentChoice } from "./choose-payment.ts";
import { type Refund, readRefund } from "./list-refunds.ts";
import { entryOfRefund } from "./refund-by-hand.ts";
import { type RefundShares, refundPartsLeft, sharedAmount } from "./refund-parts.ts";
import { insertRefunds, type NewRefund, readRefundBases } from "./refund-rows.ts";

/** What a request refunds. */
export type RequestedRefund =
  | Exclude<RefundSelection, { kind: "AMOUNT" }>
  /** An amount in the currency of the order. */
  | { kind: "AMOUNT"; amount: Money };

/** A request to refund a part of an order. */
export interface RefundRequest extends PaymentChoice {
  /** Empty for any version of the order. */
  etag: string;
  /** Required. */
  selection: RequestedRefund | undefined;
  /** Whether the units are returned too. */
  returnItems: boolean;
  /** Whether returned units can be sold again. */
  restock: boolean;
  reason: string;
}

/** An order after a refund was requested, or recorded. */
export interface RefundedOrder {
  order: Order;
  refund: Refund;
}

/** Dependencies of refunding orders. */
export interface RefundOptions extends ReturnOptions {
  /** Undefined without a gateway. */
  gateway: Pick<PaymentGateway, "name" | "assertChargeable"> | undefined;
  ids: Ids;
  enqueueRequests: EnqueueRequests;
}

/**
 * Refunds units, an amount or the shipping of an order, and records the return of the units, if requested. A job requests
 * the refund from the gateway after the commit; that of a payment by hand is recorded as made.
 * @throws AppError not_found for an unknown order, item or payment; aborted for a stale etag; invalid_argument for a
 *   missing or contradictory field; failed_precondition when the state forbids it, less is left, or the gateway does
 *   not move such an amount
 */
export async function refundOrder(
  options: RefundOptions,
  tx: Tx,
  call: Call,
  request: RefundRequest,
): Promise<RefundedOrder> {
  const { id, etag, reason, returnItems, restock, reference } = request;
  const requested = readSelection(request);
  const order = await lockOrder(options, tx, call, id);
  assertEtag("order", order, etag);
  assertTransition(order, "REFUND");
  const payments = await readLedgerPayments(tx, [id]);
  const payment = choosePayment(payments, request);
  const shares = await divide(tx, order, payment, selectionOf(order, requested));
  if (payment.gateway === options.gateway?.name) {
    options.gateway.assertChargeable({ currencyCode: payment.currency, minorUnits: sharedAmount(shares) });
  }
  const isReturn = returnItems && requested.kind === "ITEMS";
  const current = isReturn
    ? await returnOrderItems(options, tx, call, { id, etag: "", items: requested.items, reason, restock })
    : order;
  const refund: NewRefund = {
    id: options.ids(),
    orderId: id,
    paymentId: payment.id,
    kind: requested.kind,
    cause: "",
    shares,
    state: payment.gateway === "manual" ? "SUCCEEDED" : "PENDING",
    reason,
    reference,
    actor: actorOf(call.principal, order.customerId),
    now: timeOfChange(options.clock, current),
  };
  const change = await writeRefund(options, tx, { order: current, payments, payment, refund });
  const [after = current] = await applyChanges(tx, call, [change]);
  return { order: after, refund: await readRefund(tx, id, refund.id) };
}

async function divide(
  tx: Tx,
  order: Order,
  payment: LedgerPayment,
  selection: RefundSelection,
): Promise<RefundShares> {
  const basis = (await readRefundBases(tx, [payment])).get(payment.id);
  if (basis === undefined) throw new Error(`the refunds of payment ${payment.id} were not read`);
  return allocateRefund(order.id, refundPartsLeft(order, basis), refundableAmount(payment), selection);
}

/** A refund of one of the payments of a locked order. */
interface DecidedRefund {
  order: Order;
  payments: readonly LedgerPayment[];
  payment: LedgerPayment;
  refund: NewRefund;
}

/**
 * Writes a refund and what follows from it: the request to the gateway or, for one that was made by hand, its entry of the
 * ledger.
 * @returns the change of the order
 */
async function writeRefund(
  { ids, enqueueRequests }: RefundOptions,
  tx: Tx,
  { order, payments, payment, refund }: DecidedRefund,
): Promise<OrderChange> {
  const { id, orderId, paymentId, state, shares, reason, now } = refund;
  const minorUnits = sharedAmount(shares);
  const isByHand = state === "SUCCEEDED";
  const entries = isByHand ? [entryOfRefund(ids(), refund, payment)] : [];
  const refunded = completePayment({
    ...payment,
    entries: [...payment.entries, ...entries],
    refunds: [...payment.refunds, { id, state, minorUnits, cause: "" }],
  });
  await insertRefunds(tx, [refund]);
  await insertEntries(tx, entries);
  await updatePayments(tx, [refunded], now);
  const details = { amount: minorUnits.toString(), paymentId, refundId: id };
  const change = { order, reason, details, now };
  if (isByHand) {
    const after = payments.map((one) => (one === payment ? refunded : one));
    const { paymentState, refunded: sum } = orderMoneyOf(order, after);
    const set = { paymentState, refunded: { ...order.refunded, minorUnits: sum } };
    return { ...change, transition: "REFUND", set };
  }
  const request = { id, kind: "REFUND", paymentId, orderId, minorUnits, isFinal: true, now } as const;
  await insertRequests(tx, enqueueRequests, [request]);
  return { ...change, transition: "RECORD_ENTRIES", event: "REFUND_REQUESTED", set: {} };
}

/** @throws AppError invalid_argument for a missing or contradictory field */
function readSelection({ selection, returnItems, restock }: RefundRequest): RequestedRefund {
  if (selection === undefined) {
    throw new AppError("invalid_argument", "Set one of items, amount and shipping.", {
      reason: "FIELD_REQUIRED",
      fields: [{ field: "subject", description: "is required: items, amount or shipping" }],
    });
  }
  if (selection.kind === "ITEMS") assertDistinctItems(selection.items, "items.items");
  else if (returnItems) throw invalidField("return_items", "needs items. Leave it false for other refunds.");
  if (restock && !returnItems) {
    throw invalidField("restock", "needs return_items. Set both, or leave restock false.");
  }
  return selection;
}

/** @throws AppError invalid_argument for an amount in another currency than that of the order */
function selectionOf({ paid }: Order, requested: RequestedRefund): RefundSelection {
  if (requested.kind !== "AMOUNT") return requested;
  const { currencyCode, minorUnits } = requested.amount;
  if (currencyCode === paid.currencyCode) return { kind: "AMOUNT", amount: minorUnits };
  throw invalidField("amount.currency_code", `must be ${paid.currencyCode}, the currency of the order.`);
}
