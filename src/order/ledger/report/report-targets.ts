import { sql } from "kysely";
import type { LedgerFact, PaymentStep } from "../../../infra/payment/payment-gateway.ts";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { prepare } from "../../../infra/postgres/statement.ts";
import { UUID_PATTERN } from "../../../kernel/ids.ts";
import { type PaymentRow, SELECT_PAYMENT } from "../../payment/payment-row.ts";
import type { Report } from "./report.ts";

/** A payment that reports may be about. */
export interface TargetRow extends PaymentRow {
  step: PaymentStep;
}

/** A fact that is stored already. */
export interface StoredFact {
  /** Null if the payment does not exist. */
  payment_id: string | null;
  minor: bigint;
  currency: string;
}

/** The payment that a report is about. */
export interface Target {
  report: Report;
  /** The payment that the facts belong to. */
  payment: TargetRow | undefined;
  /** The payment that the gateway was asked about. */
  asked: TargetRow | undefined;
  /** Whether the report names another payment than the gateway was asked about, or another reference than it has. */
  isContradicted: boolean;
}

/** The payments of reports, and the facts that are stored already by `factKey`. */
export interface Targets {
  targets: readonly Target[];
  facts: ReadonlyMap<string, readonly StoredFact[]>;
}

type List = readonly string[];

const FIND_PAYMENTS = prepare<[ids: List, gateways: List, references: List], TargetRow>(
  (ids, gateways, references) => sql`
    ${SELECT_PAYMENT} where payment.id in (
      select unnest(${ids}::uuid[])
      union select found.id from unnest(${gateways}::text[], ${references}::text[]) as named (gateway, reference)
        join payment as found on (found.gateway, found.reference) = (named.gateway, named.reference)
    )`,
);
const FIND_FACTS = prepare<
  [gateways: List, types: List, references: List],
  Omit<StoredFact, "minor"> & { gateway: string; type: string; reference: string; amount_minor: string }
>(
  (gateways, types, references) => sql`
    select entry.gateway, entry.type, entry.reference, amount_minor, currency, payment_id
    from (
      select distinct * from unnest(${gateways}::text[], ${types}::text[], ${references}::text[])
    ) as named (gateway, type, reference)
    join ledger_entry as entry
      on (entry.gateway, entry.type, entry.reference) = (named.gateway, named.type, named.reference)`,
);

/** Returns the text that identifies a fact among those of all gateways. */
export function factKey(
  gateway: string,
  { type, reference }: Pick<LedgerFact, "reference"> & { type: string },
): string {
  return `${gateway} ${type} ${reference}`;
}

/** Returns the names of the payments that a report may be about. */
export function targetKeys({ gateway, statement, paymentId }: Report): string[] {
  const reference = statement.reference === "" ? [] : [`${gateway} ${statement.reference}`];
  return [...new Set([...paymentIds({ statement, paymentId }), ...reference])];
}

function paymentIds({
  statement,
  paymentId = "",
}: {
  statement: Report["statement"];
  paymentId?: string | undefined;
}) {
  return [statement.paymentId, paymentId].map(idOf).filter((id) => id !== "");
}

/** Returns an id as it is stored; empty if it is none, such as one that another system has set. */
export function idOf(id: string): string {
  return UUID_PATTERN.test(id) ? id.toLowerCase() : "";
}

/** Reads the payments that reports are about, and which of their facts are stored. Nothing is locked. */
export async function readTargets(tx: Tx, reports: readonly Report[]): Promise<Targets> {
  const named = reports.filter(({ statement }) => statement.reference !== "");
  const stated = reports.flatMap(({ gateway, statement }) =>
    statement.facts.map((fact) => ({ gateway, ...fact })),
  );
  const [payments, facts] = await tx.pipelined(() =>
    Promise.all([
      tx.query(
        FIND_PAYMENTS(
          reports.flatMap(paymentIds),
          named.map(({ gateway }) => gateway),
          named.map(({ statement }) => statement.reference),
        ),
      ),
      tx.query(
        FIND_FACTS(
          stated.map(({ gateway }) => gateway),
          stated.map(({ type }) => type),
          stated.map(({ reference }) => reference),
        ),
      ),
    ]),
  );
  const known = Map.groupBy(
    facts.map(({ amount_minor: minor, ...fact }) => ({ ...fact, minor: BigInt(minor) })),
    (fact) => factKey(fact.gateway, fact),
  );
  return { targets: reports.map((report) => targetOf(report, payments)), facts: known };
}

/** Returns the payment of a report: that with its reference or else that with the id which the gateway states. */
function targetOf(report: Report, rows: readonly TargetRow[]): Target {
  const { gateway, statement, paymentId = "" } = report;
  const payments = rows.filter((row) => row.gateway === gateway);
  const find = (id: string) => (id === "" ? undefined : payments.find((row) => row.id === idOf(id)));
  const asked = find(paymentId);
  const ofReference =
    statement.reference === "" ? undefined : payments.find((row) => row.reference === statement.reference);
  const payment = ofReference ?? find(statement.paymentId || paymentId);
  const named = [statement.paymentId, paymentId].filter((id) => id !== "");
  const isContradicted =
    named.some((id) => payment !== undefined && idOf(id) !== payment.id) ||
    (asked !== undefined && payment === undefined) ||
    (payment !== undefined &&
      payment.reference !== null &&
      statement.reference !== "" &&
      payment.reference !== statement.reference);
  return { report, payment, asked, isContradicted };
}

/** Returns whether a report may change its payment. Otherwise nothing is locked for it. */
export function needsApplication(
  { report, payment, isContradicted }: Target,
  facts: Targets["facts"],
): boolean {
  if (payment === undefined) return false;
  const { gateway, source, statement, requestId } = report;
  const isStored = (fact: LedgerFact) =>
    (facts.get(factKey(gateway, fact)) ?? []).some(
      (one) =>
        one.payment_id === payment.id &&
        one.minor === fact.amount.minorUnits &&
        one.currency === fact.amount.currencyCode,
    );
  const { reference, clientSecret, captureBefore, failure } = statement;
  return (
    (isContradicted && source !== "WEBHOOK") ||
    requestId !== undefined ||
    source === "FETCH" ||
    payment.check_reason === "DOUBT" ||
    !statement.facts.every(isStored) ||
    (payment.reference === null && reference !== "") ||
    (source !== "WEBHOOK" && statement.step !== undefined && statement.step !== payment.step) ||
    (clientSecret !== undefined && clientSecret !== payment.client_secret) ||
    (captureBefore !== undefined && captureBefore.getTime() !== timeOf(payment.capture_before)) ||
    (failure !== undefined && failure.code !== payment.failure_code)
  );
}

const timeOf = (text: string | null) => (text === null ? undefined : new Date(text).getTime());
