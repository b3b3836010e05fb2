import { payableAmount } from "../../complete-order.ts";
import type { Order } from "../../order-types.ts";
import { type NewDiscrepancy, newDiscrepancy } from "../discrepancies.ts";
import { type LedgerPayment, moneyOf, type NewEntry } from "../ledger-rows.ts";
import { decideReleases, lateMoney } from "../release/decide-releases.ts";
import { afterRelease, type ReleasedPayment } from "../release/write-releases.ts";
import { causeOf, type Settlement, settleRequests } from "../settle-requests.ts";
import { completePayment } from "../update-payments.ts";
import { applyReport, newFacts, type ReportContext } from "./apply-report.ts";
import { compareTotals } from "./compare-totals.ts";
import type { Target } from "./report-targets.ts";

/** A locked order with its payments, while reports are applied to them. */
export interface OrderLedger {
  order: Order;
  /** All payments, by id. */
  payments: Map<string, LedgerPayment>;
  /** The targets of the reports that were applied. */
  targets: Target[];
  /** The entries to store. */
  entries: NewEntry[];
  discrepancies: NewDiscrepancy[];
  settlements: Settlement[];
  releases: ReleasedPayment[];
}

/** Returns the ledgers of orders, by their id. */
export function createLedgers(
  orders: readonly Order[],
  payments: readonly LedgerPayment[],
): Map<string, OrderLedger> {
  const ofOrders = Map.groupBy(payments, ({ orderId }) => orderId);
  return new Map(
    orders.map((order) => [
      order.id,
      {
        order,
        payments: new Map((ofOrders.get(order.id) ?? []).map((payment) => [payment.id, payment])),
        targets: [],
        entries: [],
        discrepancies: [],
        settlements: [],
        releases: [],
      },
    ]),
  );
}

/** Applies a report to the payment that it is about. */
export function applyTarget(context: ReportContext, ledger: OrderLedger, target: Target): void {
  const payment = ledger.payments.get(target.payment?.id ?? "");
  if (payment === undefined) return;
  const effect = newFacts(context, target);
  ledger.targets.push(target);
  ledger.entries.push(...effect.entries);
  ledger.discrepancies.push(...effect.discrepancies);
  ledger.payments.set(payment.id, applyReport(context, target, payment, effect));
}

/**
 * Completes a ledger after its reports: settles the requests of the payments, decides which money the order must not keep,
 * and compares the sums.
 */
export function completeLedger(context: ReportContext, ledger: OrderLedger): void {
  const { order, payments, targets } = ledger;
  const responded = new Set(targets.flatMap(({ report }) => report.requestId ?? []));
  for (const payment of changedPayments(ledger)) {
    const settlement = settleRequests(payment, responded);
    payments.set(payment.id, completePayment(settlement.payment));
    ledger.settlements.push(settlement);
    ledger.discrepancies.push(...failedRequests(context, order, settlement));
  }
  for (const { report, payment, isContradicted } of targets) {
    const compared = payments.get(payment?.id ?? "");
    if (compared === undefined || isContradicted) continue;
    ledger.discrepancies.push(...compareTotals(context, report, compared));
  }
  if (ledger.entries.length === 0) return;
  const all = [...payments.values()];
  const [late] = ledger.entries.filter((entry) => isGain(entry, payments.get(entry.paymentId)));
  const cause = late && lateMoney(late.reference);
  ledger.releases = decideReleases(order, all, cause).map((one) => afterRelease(one, context.ids));
  for (const { released } of ledger.releases) payments.set(released.id, released);
  ledger.discrepancies.push(...overpaid(context, ledger), ...underpaid(context, ledger));
}

/** Returns the payments that reports were applied to, or that are released. */
export function changedPayments({ payments, targets, releases }: OrderLedger): LedgerPayment[] {
  const ids = new Set([
    ...targets.map(({ payment }) => payment?.id),
    ...releases.map(({ payment }) => payment.id),
  ]);
  return [...payments.values()].filter(({ id }) => ids.has(id));
}

/** Returns whether an entry increases what the shop has. The failure of a refund of its own is none of these: staff decide. */
function isGain(entry: NewEntry, payment: LedgerPayment | undefined): boolean {
  if (entry.type === "CAPTURED" || entry.type === "DISPUTE_WON") return true;
  if (entry.type !== "REFUND_FAILED" || payment === undefined) return false;
  const cause = causeOf(entry, payment.entries);
  return payment.refunds.every(({ id }) => id !== cause);
}

/** Returns the discrepancies of requests that have failed. The cancellation of an order prevents captures: they are none. */
function failedRequests(
  context: ReportContext,
  { closing }: Order,
  { payment, requests }: Settlement,
): NewDiscrepancy[] {
  const { id: paymentId, orderId, gateway } = payment;
  const isClosed = closing === "CANCELLED" || closing === "EXPIRED";
  return requests
    .filter(({ state, kind }) => state === "FAILED" && !(isClosed && kind === "CAPTURE"))
    .map(({ id: reference, kind, note }) => {
      const subject = { orderId, paymentId, gateway, reference };
      const description = `The gateway has rejected the request ${kind}${note === "" ? "." : `: ${note}`}`;
      return newDiscrepancy(context, "REQUEST_FAILED", subject, { description });
    });
}

/** Returns the discrepancy of an open order for which more was captured now than it costs, and is not refunded. */
function overpaid(context: ReportContext, { order, payments, entries }: OrderLedger): NewDiscrepancy[] {
  const captured = entries.find(({ type }) => type === "CAPTURED");
  if (captured === undefined || (order.closing !== "NONE" && order.closing !== "EXPIRING")) return [];
  const kept = [...payments.values()].reduce((sum, payment) => {
    const money = moneyOf(payment);
    const returned = money.refunded + money.lost;
    const requested = payment.requestedRefund;
    return sum + money.captured - (returned > requested ? returned : requested);
  }, 0n);
  const cost = payableAmount(order);
  if (kept <= cost) return [];
  const description = `The order costs ${cost} minor units, but ${kept} were captured and are not refunded.`;
  const money = (minorUnits: bigint) => ({ ...order.paid, minorUnits });
  const amounts = { expected: money(cost), actual: money(kept) };
  return [newDiscrepancy(context, "OVERPAID", captured, { description, ...amounts })];
}

/** Returns the discrepancy of an open order of which less was captured than it costs, when no money is left to capture. */
function underpaid(context: ReportContext, { order, payments, entries }: OrderLedger): NewDiscrepancy[] {
  const last = entries.findLast(({ type }) => type === "CAPTURED" || type === "VOIDED");
  if (last === undefined || order.closing !== "NONE") return [];
  const captured = [...payments.values()].reduce((sum, payment) => sum + moneyOf(payment).captured, 0n);
  const cost = payableAmount(order);
  if (captured === 0n || captured >= cost || [...payments.values()].some(canCaptureMore)) return [];
  const description = `The order costs ${cost} minor units, but only ${captured} were captured, and the authorization has ended.`;
  const money = (minorUnits: bigint) => ({ ...order.paid, minorUnits });
  const subject = { ...last, reference: last.paymentId };
  const sums = { expected: money(cost), actual: money(captured) };
  return [newDiscrepancy(context, "CAPTURED_MISMATCH", subject, { description, ...sums })];
}

/** Returns whether more of a payment can be captured, as far as is known: its authorization may be stated after a capture. */
function canCaptureMore(payment: LedgerPayment): boolean {
  const { authorized, captured, open, isVoided } = moneyOf(payment);
  const isUnknown = payment.gateway !== "manual" && captured > 0n && authorized === 0n && !isVoided;
  return open > 0n || isUnknown;
}
