import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { prepare } from "../../../infra/postgres/statement.ts";
import type { Ids } from "../../../kernel/ids.ts";
import { storedCancelledUnits } from "../../change/event-details.ts";
import { openUnits } from "../../change/item-units.ts";
import { capturableOf, hasRequest } from "../../ledger/capturable.ts";
import { type EnqueueRequests, insertRequests, type NewRequest } from "../../ledger/insert-requests.ts";
import { type LedgerPayment, readLedgerPayments } from "../../ledger/ledger-rows.ts";
import type { Order } from "../../order-types.ts";
import { refundPartsLeft } from "../../refund/refund-parts.ts";
import { nothingCapturable } from "../payment-errors.ts";

const SET_CANCELLED_UNITS = prepare<[paymentIds: readonly string[], units: string], object>(
  (paymentIds, units) => sql`
    update payment set cancelled_units = ${units}::jsonb where id = any(${paymentIds}::uuid[])`,
);

/** Dependencies of requesting captures. */
export interface CaptureOptions {
  ids: Ids;
  enqueueRequests: EnqueueRequests;
  /** Whether the gateway can capture a payment several times. */
  capturesInParts: boolean;
}

/**
 * Requests the capture of what is due of a locked order that is authorized, once units of it are shipped. Of several
 * captures of a gateway that captures in parts, one runs at a time: this is called again when it has ended.
 */
export async function requestCaptures(
  options: CaptureOptions,
  tx: Tx,
  order: Order,
  now: Date,
): Promise<void> {
  if (order.paymentState !== "AUTHORIZED" || order.fulfillmentState === "UNFULFILLED") return;
  const payments = await readLedgerPayments(tx, [order.id]);
  await insertCaptures(options, tx, order, decideCaptures(options, order, payments, now));
}

/**
 * Checks that units of a locked order that is authorized can be shipped: a part of what is due can be captured.
 * @throws AppError failed_precondition
 */
export async function assertCapturable(tx: Tx, order: Order, now: Date): Promise<void> {
  if (order.paymentState !== "AUTHORIZED" || order.amountDue.minorUnits === 0n) return;
  const payments = await readLedgerPayments(tx, [order.id]);
  const capturable = payments.filter((payment) => capturableOf(payment) > 0n);
  if (capturable.some(({ captureBefore }) => captureBefore === undefined || now < captureBefore)) return;
  throw nothingCapturable(
    order.id,
    capturable.length === 0
      ? "its authorization is being cancelled. Wait until the order is FAILED, and let it be paid again."
      : "its authorization has ended. Wait until the order is FAILED, and let it be paid again, or by hand.",
  );
}

/**
 * Stores captures of payments of a locked order, and which of its units take no part of them. Those that are cancelled
 * later are refunded.
 */
export async function insertCaptures(
  { enqueueRequests }: Pick<CaptureOptions, "enqueueRequests">,
  tx: Tx,
  { items }: Order,
  requests: readonly NewRequest[],
): Promise<void> {
  const units = storedCancelledUnits(items);
  const captured = requests.filter(({ kind }) => kind === "CAPTURE").map(({ paymentId }) => paymentId);
  if (units !== null && captured.length > 0) await tx.query(SET_CANCELLED_UNITS(captured, units));
  await insertRequests(tx, enqueueRequests, requests);
}

/** Returns the requests for what is to be captured of an authorized order now; none while a capture runs. */
export function decideCaptures(
  { ids, capturesInParts }: Pick<CaptureOptions, "ids" | "capturesInParts">,
  order: Order,
  payments: readonly LedgerPayment[],
  now: Date,
): NewRequest[] {
  if (payments.some((payment) => hasRequest(payment, "CAPTURE"))) return [];
  const open = payments
    .map((payment) => ({ payment, left: capturableOf(payment) }))
    .filter(({ left }) => left > 0n);
  const request = (payment: LedgerPayment) => ({ id: ids(), paymentId: payment.id, orderId: order.id, now });
  const due = captureDue(order, capturesInParts);
  if (due === 0n) {
    // The last units were cancelled, and the others are captured.
    const isDone = openUnits(order).length === 0 && order.amountDue.minorUnits === 0n;
    return (isDone ? open : []).map(({ payment }) => ({
      ...request(payment),
      kind: "CANCEL",
      minorUnits: null,
      isFinal: true,
    }));
  }
  let rest = due;
  return open.flatMap(({ payment, left }): NewRequest[] => {
    const minorUnits = left < rest ? left : rest;
    rest -= minorUnits;
    const isFinal = !capturesInParts || minorUnits === order.amountDue.minorUnits;
    return minorUnits === 0n ? [] : [{ ...request(payment), kind: "CAPTURE", minorUnits, isFinal }];
  });
}

/**
 * Returns what is to be captured of an authorized order that is shipped in part, in minor units: all that is due or, of a
 * gateway that captures in parts, the price of the shipped units, with the shipping, that is not captured yet. It is rounded
 * down: if the other units are cancelled later, the shipped ones must not have cost more than they do then.
 */
export function captureDue(order: Order, capturesInParts: boolean): bigint {
  const { amountDue, paid, items } = order;
  if (!capturesInParts || openUnits(order).length === 0) return amountDue.minorUnits;
  const { lines, shipping } = refundPartsLeft(order, {
    captured: amountDue.minorUnits + paid.minorUnits,
    otherReturns: 0n,
    cancelledUnits: new Map(items.map(({ id, cancelledQuantity }) => [id, cancelledQuantity])),
    earlier: [],
  });
  const fulfilled = new Map(items.map(({ id, fulfilledQuantity }) => [id, fulfilledQuantity]));
  const shipped = lines
    .filter(({ units }) => units > 0n)
    .reduce(
      (sum, { itemId, amount, units }) => sum + (amount * (fulfilled.get(itemId) ?? 0n)) / units,
      shipping.amount,
    );
  const due = shipped - paid.minorUnits;
  return due > 0n ? due : 0n;
}
