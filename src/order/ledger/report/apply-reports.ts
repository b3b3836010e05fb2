import { OptimisticLockError } from "@mikro-orm/postgresql";
import { sql } from "kysely";
import type { Outcome } from "../../../infra/batch-writer/batch-writer.ts";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { prepare } from "../../../infra/postgres/statement.ts";
import { internalCall } from "../../../kernel/call.ts";
import type { Log } from "../../../kernel/log.ts";
import type { Tracker } from "../../../tracker/tracker.ts";
import { applyChanges, timeOfChange } from "../../change/apply-changes.ts";
import { readOrders } from "../../change/lock-orders.ts";
import { recordSalesOfAll } from "../../change/promotion-purchases.ts";
import type { Order } from "../../order-types.ts";
import { type Payment, paymentFromRow } from "../../payment/payment-row.ts";
import { insertDiscrepancies, type NewDiscrepancy } from "../discrepancies.ts";
import { insertEntries, type LedgerPayment, readLedgerPayments } from "../ledger-rows.ts";
import { type ReleaseOptions, writeReleases } from "../release/write-releases.ts";
import { updatePayments, updateSettled } from "../update-payments.ts";
import { newFacts, type ReportContext, type ReportEffect } from "./apply-report.ts";
import { markEvents } from "./mark-events.ts";
import { isSold, recordedChange } from "./order-change.ts";
import {
  applyTarget,
  changedPayments,
  completeLedger,
  createLedgers,
  type OrderLedger,
} from "./order-ledger.ts";
import type { AppliedReport, Report } from "./report.ts";
import { factKey, needsApplication, readTargets, type Target, type Targets } from "./report-targets.ts";

/** Dependencies of applying reports. */
export interface ApplyOptions extends ReleaseOptions {
  tracker: Tracker;
  log: Log;
}

/** What reports are about. The orders are locked. */
export interface LockedReports extends Targets {
  orders: readonly Order[];
  payments: readonly LedgerPayment[];
}

const LOCK = prepare<[ids: readonly string[]], object>(
  (ids) => sql`select from orders where id = any(${ids}::uuid[]) order by id for update`,
);

/** Reads what reports are about, and locks the orders that they may change. Repeated reports lock none. */
export async function lockReports(tx: Tx, reports: readonly Report[]): Promise<LockedReports> {
  const found = await readTargets(tx, reports);
  const changed = found.targets.filter((target) => needsApplication(target, found.facts));
  const orderIds = [...new Set(changed.flatMap(({ payment }) => payment?.order_id ?? []))].sort();
  if (orderIds.length === 0) return { ...found, orders: [], payments: [] };
  // PostgreSQL runs them one after the other: what is read is newer than the lock.
  const [, orders, payments] = await tx.pipelined(() =>
    Promise.all([tx.query(LOCK(orderIds)), readOrders(tx, orderIds), readLedgerPayments(tx, orderIds)]),
  );
  return { ...found, orders, payments };
}

/**
 * Applies reports of gateways: stores the facts that are new, derives the amounts and states of payments and orders from
 * all facts of the ledger, settles the requests that have caused them, records sales, and cancels or refunds money that an
 * order must not keep. A report that was applied already changes nothing.
 * @returns an outcome for each report, in order
 */
export async function writeReports(
  options: ApplyOptions,
  tx: Tx,
  locked: LockedReports,
  reports: readonly Report[],
): Promise<Outcome<AppliedReport>[]> {
  const { ids, clock } = options;
  const context: ReportContext = { ids, now: clock.now(), facts: knownFacts(locked) };
  const ledgers = createLedgers(locked.orders, locked.payments);
  const targets = locked.targets.filter(({ report }) => reports.includes(report));
  const unknown: ReportEffect = { entries: [], discrepancies: [] };
  for (const target of targets) {
    const ledger = ledgers.get(target.payment?.order_id ?? "");
    if (ledger !== undefined) applyTarget(context, ledger, target);
    if (target.payment !== undefined || !isOurs(target)) continue;
    const { entries, discrepancies } = newFacts(context, target);
    unknown.entries.push(...entries);
    unknown.discrepancies.push(...discrepancies);
  }
  const changed = [...ledgers.values()].filter((ledger) => ledger.targets.length > 0);
  for (const ledger of changed) completeLedger(context, ledger);
  const payments = await writeLedgers(options, tx, changed, unknown, context.now);
  const outcomes = targets.map((target): { report: Report } & AppliedReport => {
    const { report, payment, asked } = target;
    const row = asked ?? payment;
    return {
      report,
      outcome: isOurs(target) ? "APPLIED" : "IGNORED",
      payment: row && (payments.get(row.id) ?? paymentFromRow(row)),
    };
  });
  await markEvents(tx, outcomes, context.now);
  return outcomes.map(({ report, ...result }) => ({ result }));
}

/** Returns whether a report is about a payment that the service has created, as far as is known. */
function isOurs({ report, payment }: Target): boolean {
  return payment !== undefined || report.statement.paymentId !== "" || report.paymentId !== undefined;
}

/** Returns the stored facts: those that were found before the lock, and those of the payments after it. */
function knownFacts({ facts, payments }: LockedReports): ReportContext["facts"] {
  const known = new Map(facts);
  const ofPayments = payments.flatMap(({ id, gateway, entries }) =>
    entries.map(({ minorUnits: minor, currency, ...entry }) => ({
      key: factKey(gateway, entry),
      fact: { payment_id: id, minor, currency },
    })),
  );
  for (const { key, fact } of ofPayments) {
    const others = known.get(key) ?? [];
    const isKnown = others.some(({ minor, currency }) => minor === fact.minor && currency === fact.currency);
    if (!isKnown) known.set(key, [...others, fact]);
  }
  return known;
}

/**
 * Writes ledgers, and the facts of unknown payments.
 * @returns the payments after the update, by id
 * @throws OptimisticLockError, after which the transaction is repeated, when another one has stored one of the facts
 */
async function writeLedgers(
  options: ApplyOptions,
  tx: Tx,
  ledgers: readonly OrderLedger[],
  unknown: ReportEffect,
  now: Date,
): Promise<Map<string, Payment>> {
  const call = internalCall();
  const entries = [...ledgers.flatMap((ledger) => ledger.entries), ...unknown.entries];
  const changes = ledgers.flatMap((ledger) => {
    const { order, payments } = ledger;
    return (
      recordedChange(order, [...payments.values()], ledger.entries, timeOfChange(options.clock, order)) ?? []
    );
  });
  const sold = changes.filter(({ order, set }) => isSold(order, set.paymentState ?? order.paymentState));
  if (sold.length > 0) {
    const orders = sold.map(({ order }) => order);
    await recordSalesOfAll(options.tracker, tx, call, orders, now);
  }
  const settlements = ledgers.flatMap((ledger) => ledger.settlements);
  const discrepancies = [...ledgers.flatMap((ledger) => ledger.discrepancies), ...unknown.discrepancies];
  const [stored, , payments, orders, found] = await tx.pipelined(() =>
    Promise.all([
      insertEntries(tx, entries),
      updateSettled(
        tx,
        settlements.flatMap(({ refunds }) => refunds),
        settlements.flatMap(({ requests }) => requests),
        now,
      ),
      updatePayments(tx, ledgers.flatMap(changedPayments), now),
      changes.length === 0 ? [] : applyChanges(tx, call, changes),
      insertDiscrepancies(tx, discrepancies),
    ]),
  );
  if (stored !== entries.length) throw new OptimisticLockError("facts are stored already");
  logDiscrepancies(options.log, found);
  const current = new Map(orders.map((order) => [order.id, order]));
  const releases = ledgers.flatMap((ledger) => ledger.releases);
  await writeReleases(options, tx, call, current, releases);
  return new Map(payments.map((payment) => [payment.id, payment]));
}

function logDiscrepancies(log: Log, found: readonly NewDiscrepancy[]): void {
  for (const { kind, orderId, paymentId, gateway, reference, description } of found) {
    log.error({ kind, orderId, paymentId, gateway, reference, description }, "Ledger discrepancy found");
  }
}
