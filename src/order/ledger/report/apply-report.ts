import type { LedgerFact } from "../../../infra/payment/payment-gateway.ts";
import { MINUTE_MS } from "../../../kernel/durations.ts";
import type { Ids } from "../../../kernel/ids.ts";
import type { Money } from "../../../kernel/money.ts";
import { type DiscrepancySubject, type NewDiscrepancy, newDiscrepancy } from "../discrepancies.ts";
import { type LedgerPayment, moneyOf, type NewEntry, type PaymentCheck } from "../ledger-rows.ts";
import { isUnfinished } from "../settle-requests.ts";
import { completePayment } from "../update-payments.ts";
import type { Report } from "./report.ts";
import { factKey, idOf, type StoredFact, type Target } from "./report-targets.ts";

/** What the application of reports shares within a transaction. */
export interface ReportContext {
  ids: Ids;
  now: Date;
  /** The facts that are stored or about to be, by `factKey`. */
  facts: Map<string, readonly StoredFact[]>;
}

/** What a report changes. */
export interface ReportEffect {
  entries: NewEntry[];
  discrepancies: NewDiscrepancy[];
}

/** Time after which the sums of a payment are compared with those of the gateway: its webhooks have arrived by then. */
const SETTLE_MS = 10 * MINUTE_MS;

/** Returns the entries for the facts that are not stored yet, and what contradicts the ledger. */
export function newFacts(context: ReportContext, target: Target): ReportEffect {
  const effects = target.report.statement.facts.map((fact) => newFact(context, target, fact));
  const entries = effects.flatMap((effect) => effect.entries);
  const discrepancies = effects.flatMap((effect) => effect.discrepancies);
  return { entries, discrepancies: [...contradictions(context, target, entries), ...discrepancies] };
}

function newFact(context: ReportContext, target: Target, fact: LedgerFact): ReportEffect {
  const { report, payment } = target;
  const { type, reference, amount } = fact;
  const key = factKey(report.gateway, fact);
  const known = context.facts.get(key) ?? [];
  const paymentId = payment?.id ?? null;
  const stored = known.find((one) => isSameAmount(one, amount));
  if (stored !== undefined) {
    if (stored.payment_id === paymentId) return { entries: [], discrepancies: [] };
    const description = `${type} is an entry of payment ${stored.payment_id ?? "(unknown)"}. The gateway states it of payment ${paymentId ?? "(unknown)"}.`;
    const subject = { ...subjectOf(target), reference };
    return {
      entries: [],
      discrepancies: [newDiscrepancy(context, "WRONG_PAYMENT", subject, { description })],
    };
  }
  const { minorUnits: minor, currencyCode: currency } = amount;
  context.facts.set(key, [...known, { payment_id: paymentId, minor, currency }]);
  const entries = [entryOf(context, report, payment, fact)];
  return {
    entries,
    discrepancies: payment === undefined ? [] : amountConflicts(context, target, fact, known),
  };
}

/** Returns whether a fact has another currency than its payment, or another amount than it was reported with before. */
function amountConflicts(
  context: ReportContext,
  target: Target,
  { type, reference, amount }: LedgerFact,
  known: readonly StoredFact[],
): NewDiscrepancy[] {
  const { payment } = target;
  const { minorUnits, currencyCode } = amount;
  const subject = { ...subjectOf(target), reference };
  if (payment !== undefined && payment.currency !== currencyCode) {
    const description = `${type} of ${minorUnits} minor units of ${currencyCode}: the payment is in ${payment.currency}.`;
    return [newDiscrepancy(context, "CURRENCY_MISMATCH", subject, { description })];
  }
  const earlier = known.find(({ currency }) => currency === currencyCode)?.minor;
  const ofPayment = type === "AUTHORIZED" && payment !== undefined ? BigInt(payment.amount_minor) : undefined;
  const expected = earlier ?? ofPayment;
  if (expected === undefined || expected === minorUnits) return [];
  const description = `${type} was reported with ${minorUnits} minor units instead of ${expected}. The greatest reported amount counts.`;
  const amounts = { expected: { currencyCode, minorUnits: expected }, actual: amount };
  return [newDiscrepancy(context, "AMOUNT_CONFLICT", subject, { description, ...amounts })];
}

/**
 * Returns whether a report is about another payment than the gateway was asked about, or about one that does not exist. A
 * webhook that is repeated discloses nothing.
 */
function contradictions(
  context: ReportContext,
  target: Target,
  entries: readonly NewEntry[],
): NewDiscrepancy[] {
  const { report, payment, isContradicted } = target;
  const { statement, source } = report;
  if (source === "WEBHOOK" && entries.length === 0) return [];
  const subject = { ...subjectOf(target), reference: statement.reference };
  const found: NewDiscrepancy[] = [];
  if (isContradicted) {
    const description = `The gateway names payment ${statement.paymentId || "(none)"} and reference ${statement.reference}.`;
    found.push(newDiscrepancy(context, "WRONG_PAYMENT", subject, { description }));
  }
  if (payment === undefined) {
    const description = `The gateway names payment ${statement.paymentId}, which does not exist.`;
    found.push(newDiscrepancy(context, "UNKNOWN_PAYMENT", subject, { description }));
  }
  return found;
}

/** Returns the payment that a discrepancy is about: rather that which the gateway was asked about. */
function subjectOf({ report, payment, asked = payment }: Target): Omit<DiscrepancySubject, "reference"> {
  return { orderId: asked?.order_id ?? "", paymentId: asked?.id ?? "", gateway: report.gateway };
}

function isSameAmount({ minor, currency }: StoredFact, { minorUnits, currencyCode }: Money): boolean {
  return minor === minorUnits && currency === currencyCode;
}

function entryOf(
  { ids, now }: ReportContext,
  { gateway, source }: Report,
  payment: Target["payment"],
  { type, reference, amount, requestId = "", note = "", time }: LedgerFact,
): NewEntry {
  return {
    id: ids(),
    orderId: payment?.order_id ?? "",
    paymentId: payment?.id ?? "",
    gateway,
    type,
    reference,
    minorUnits: amount.minorUnits,
    currency: amount.currencyCode,
    requestId: idOf(requestId),
    source,
    note,
    gatewayTime: time,
    createTime: now,
  };
}

/**
 * Returns a payment after a report about it. Only responses change its step, since webhooks arrive in any order; a
 * cancelled payment stays so.
 */
export function applyReport(
  { now }: ReportContext,
  { report, isContradicted }: Target,
  payment: LedgerPayment,
  { entries, discrepancies }: ReportEffect,
): LedgerPayment {
  const withEntries = {
    ...payment,
    entries: [...payment.entries, ...entries],
    hasConflict: payment.hasConflict || discrepancies.some(({ kind }) => kind === "AMOUNT_CONFLICT"),
  };
  if (isContradicted) return completePayment(withEntries);
  const { statement, source } = report;
  const { failure, captureBefore } = statement;
  const isLater = (payment.captureBefore?.getTime() ?? 0) < (captureBefore?.getTime() ?? 0);
  const isStep = source !== "WEBHOOK" && payment.step !== "CANCELLED";
  const changed = completePayment({
    ...withEntries,
    reference: payment.reference ?? (statement.reference || null),
    step: (isStep ? statement.step : undefined) ?? payment.step,
    client_secret: statement.clientSecret ?? payment.client_secret,
    captureBefore: isLater ? captureBefore : payment.captureBefore,
    hasMethodToken: false,
    ...(failure !== undefined && { failureCode: failure.code, failureMessage: failure.message }),
  });
  return { ...changed, check: checkAfter(report, payment.check, changed, entries.length > 0, now) };
}

/** Returns when the gateway has to be asked about a payment after a report. */
function checkAfter(
  { source }: Report,
  before: PaymentCheck | undefined,
  payment: LedgerPayment,
  hasNewEntries: boolean,
  now: Date,
): PaymentCheck | undefined {
  const later: PaymentCheck = { reason: "SETTLE", at: new Date(now.getTime() + SETTLE_MS), checks: 0 };
  if (hasNewEntries) return later;
  if (source === "FETCH") {
    // The gateway may still decide: the next question is at the time that the last one has set.
    if (!isDecided(payment)) return before === undefined ? later : { ...before, reason: "SETTLE" };
    const isUnsure = payment.requests.some(isUnfinished) || wasNotFound(before, payment);
    return isUnsure ? later : checkOfEnd(before ?? later, payment, now);
  }
  if (before?.reason !== "DOUBT") return before;
  // A gateway that has rejected the creation has nothing to state.
  return payment.reference === null && payment.state === "FAILED" ? undefined : later;
}

/** Returns whether a payment was cancelled because the gateway did not find it. Gateways find new payments only later. */
function wasNotFound(before: PaymentCheck | undefined, { reference, state }: LedgerPayment): boolean {
  return before?.reason === "DOUBT" && reference === null && state === "CANCELLED";
}

/** Returns the check at the end of an authorization; after it, further ones until the gateway has stated the end. */
function checkOfEnd(before: PaymentCheck, payment: LedgerPayment, now: Date): PaymentCheck | undefined {
  const { captureBefore } = payment;
  if (captureBefore === undefined || moneyOf(payment).open === 0n) return undefined;
  return captureBefore > now
    ? { reason: "SETTLE", at: captureBefore, checks: 0 }
    : { ...before, reason: "SETTLE" };
}

function isDecided({ state }: LedgerPayment): boolean {
  return state !== "PENDING" && state !== "ACTION_REQUIRED";
}
