import type { LedgerFact } from "../../../infra/payment/payment-gateway.ts";
import { MINUTE_MS } from "../../../kernel/durations.ts";
import type { Ids } from "../../../kernel/ids.ts";
import type { DiscrepancyKind, NewDiscrepancy } from "../discrepancies.ts";
import type { LedgerPayment, NewEntry, PaymentCheck } from "../ledger-rows.ts";
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
export function newFacts(
  context: ReportContext,
  { report, payment, asked, isContradicted }: Target,
): ReportEffect {
  const { gateway, source, statement } = report;
  const subject = payment ?? asked;
  const found = (kind: DiscrepancyKind, reference: string, details: DiscrepancyDetails): NewDiscrepancy => ({
    id: context.ids(),
    kind,
    orderId: subject?.order_id ?? "",
    paymentId: subject?.id ?? "",
    gateway,
    reference,
    expected: undefined,
    actual: undefined,
    createTime: context.now,
    ...details,
  });
  const effect: ReportEffect = { entries: [], discrepancies: [] };
  if (isContradicted) {
    const description = `A ${source.toLowerCase()} of the gateway about payment ${report.paymentId ?? payment?.id} names payment ${statement.paymentId || "without id"}, ${statement.reference}.`;
    effect.discrepancies.push(found("WRONG_PAYMENT", statement.reference, { description }));
  }
  if (payment === undefined) {
    const description = `The gateway names payment ${statement.paymentId}, which does not exist.`;
    effect.discrepancies.push(found("UNKNOWN_PAYMENT", statement.reference, { description }));
  }
  for (const fact of statement.facts) {
    const key = factKey(gateway, fact);
    const known = context.facts.get(key) ?? [];
    const { minorUnits, currencyCode: currency } = fact.amount;
    const same = known.find((one) => one.minor === minorUnits && one.currency === currency);
    if (same !== undefined) {
      if (same.payment_id === (payment?.id ?? null)) continue;
      const description = `${fact.type} ${fact.reference} is an entry of payment ${same.payment_id ?? "without id"}, but the gateway states it of ${payment?.id ?? statement.paymentId}.`;
      effect.discrepancies.push(found("WRONG_PAYMENT", fact.reference, { description }));
      continue;
    }
    context.facts.set(key, [...known, { payment_id: payment?.id ?? null, minor: minorUnits, currency }]);
    effect.entries.push(entryOf(context, report, payment, fact));
    if (payment !== undefined && payment.currency !== currency) {
      const description = `${fact.type} of ${minorUnits} minor units of ${currency}: the payment is in ${payment.currency}.`;
      effect.discrepancies.push(found("CURRENCY_MISMATCH", fact.reference, { description }));
      continue;
    }
    const other = known.find((one) => one.currency === currency)?.minor;
    const ofPayment = fact.type === "AUTHORIZED" ? payment && BigInt(payment.amount_minor) : undefined;
    const before = other ?? ofPayment;
    if (before !== undefined && before !== minorUnits) {
      const description = `${fact.type} was reported with ${minorUnits} minor units instead of ${before}. The greatest reported amount counts.`;
      const expected = { currencyCode: currency, minorUnits: before };
      effect.discrepancies.push(
        found("AMOUNT_CONFLICT", fact.reference, { description, expected, actual: fact.amount }),
      );
    }
  }
  return effect;
}

type DiscrepancyDetails = Pick<NewDiscrepancy, "description"> &
  Partial<Pick<NewDiscrepancy, "expected" | "actual">>;

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
    return payment.requests.some(isUnfinished) ? later : undefined;
  }
  return before?.reason === "DOUBT" ? later : before;
}

function isDecided({ state }: LedgerPayment): boolean {
  return state !== "PENDING" && state !== "ACTION_REQUIRED";
}
