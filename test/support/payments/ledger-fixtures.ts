import { randomUUID } from "node:crypto";
import { entities } from "../../../src/entities.ts";
import { openJobs } from "../../../src/infra/jobs/jobs.ts";
import { withOutbox } from "../../../src/infra/outbox/outbox.ts";
import type {
  GatewayReport,
  LedgerEntryType,
  LedgerFact,
} from "../../../src/infra/payment/payment-gateway.ts";
import { type Database, openPostgres, type Tx } from "../../../src/infra/postgres/postgres.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import type { Log } from "../../../src/kernel/log.ts";
import { createPageTokens } from "../../../src/kernel/page.ts";
import type { ReleaseOptions } from "../../../src/order/ledger/release/write-releases.ts";
import type { Report } from "../../../src/order/ledger/report/report.ts";
import { createReportWriter, type ReportWriter } from "../../../src/order/ledger/report-writer.ts";
import { createEnqueueRequests } from "../../../src/order/payment/request/request-rows.ts";
import { createTracker } from "../../../src/tracker/tracker.ts";
import { silentLog } from "../log.ts";
import type { TestDatabase } from "../stores/database.ts";

const newId = createIds();

/** The writer of reports on connections of its own, as another replica has. */
export interface LedgerReplica {
  db: Database;
  writer: ReportWriter;
  options: ReleaseOptions;
  /** The requests whose jobs were enqueued, also by transactions that were rolled back. */
  enqueued: string[];
  close(): Promise<void>;
}

/** Opens a writer of reports. */
export async function openLedger(
  { url }: Pick<TestDatabase, "url">,
  log: Log = silentLog,
): Promise<LedgerReplica> {
  const limits = { poolMax: 6, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  const plain = await openPostgres({ url, entities, log, ...limits });
  const db = withOutbox(plain, { notify: () => {} });
  const tokens = createPageTokens(Buffer.alloc(32), systemClock);
  const shared = { db, tokens, clock: systemClock, ids: createIds() };
  const enqueued: string[] = [];
  const jobs = await openJobs({ url, workers: 0, ids: shared.ids, log });
  const enqueueRequests = createEnqueueRequests(jobs);
  const options = {
    ...shared,
    tracker: createTracker(shared),
    log,
    statementTimeoutMs: 30_000,
    waitMs: 30_000,
    enqueueRequests: async (tx: Tx, requestIds: readonly string[]) => {
      enqueued.push(...requestIds);
      await enqueueRequests(tx, requestIds);
    },
  };
  const close = async () => {
    await jobs.close();
    await db.close();
  };
  return { db, writer: createReportWriter(options), options, enqueued, close };
}

/** What a payment of a test has besides its amount. */
export interface PaymentFixture {
  minorUnits?: bigint;
  currency?: string;
  /** Null until the gateway has responded. Defaults to one that follows from the id. */
  reference?: string | null;
  /** Whether it keeps another payment from being created. */
  isOpen?: boolean;
  gateway?: "sandbox" | "manual";
}

/** A payment whose reports a test states. */
export interface TestPayment {
  id: string;
  orderId: string;
  reference: string;
  minorUnits: bigint;
  currency: string;
}

/** Stores a payment of an order as CreatePayment does, in doubt until the gateway has responded. */
export async function insertPayment(
  database: Pick<TestDatabase, "query">,
  orderId: string,
  fixture: PaymentFixture = {},
): Promise<TestPayment> {
  const id = newId();
  const { minorUnits = 2_000n, currency = "EUR", isOpen = true, gateway = "sandbox" } = fixture;
  const { reference = `pi_${id}` } = fixture;
  await database.query(
    `insert into payment (id, order_id, gateway, reference, amount_minor, currency, capture, step, state, is_open,
       method_token, check_reason, check_at, request_id, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $6, 'AT_SHIPMENT', 'PENDING', 'PENDING', $7, 'token', 'DOUBT', now(), $8, now(), now())`,
    [id, orderId, gateway, reference, minorUnits.toString(), currency, isOpen, randomUUID()],
  );
  return { id, orderId, reference: `pi_${id}`, minorUnits, currency };
}

/** Returns a fact about a payment, with its amount and reference unless others are given. */
export function factOf(
  { reference, minorUnits, currency }: TestPayment,
  type: LedgerEntryType,
  fact: {
    reference?: string;
    minorUnits?: bigint;
    currency?: string;
    requestId?: string;
    note?: string;
  } = {},
): LedgerFact {
  const { requestId, note } = fact;
  return {
    type,
    reference: fact.reference ?? reference,
    amount: { currencyCode: fact.currency ?? currency, minorUnits: fact.minorUnits ?? minorUnits },
    ...(requestId !== undefined && { requestId }),
    ...(note !== undefined && { note }),
  };
}

/**
 * Returns the fact that a payment is captured: all of it unless another amount is given.
 * @param name distinguishes several captures of a payment
 */
export function captureOf(payment: TestPayment, minorUnits = payment.minorUnits, name = "ch"): LedgerFact {
  return factOf(payment, "CAPTURED", { reference: `${name}_${payment.id}`, minorUnits });
}

/** Returns a webhook about a payment. */
export function webhookOf(
  payment: Pick<TestPayment, "id" | "reference">,
  facts: readonly LedgerFact[],
  statement: Partial<GatewayReport> = {},
): Report {
  return {
    gateway: "sandbox",
    source: "WEBHOOK",
    statement: { paymentId: payment.id, reference: payment.reference, facts, ...statement },
  };
}

/** Returns a response, or with another source the result of a question, about a payment. */
export function responseOf(
  payment: Pick<TestPayment, "id" | "reference">,
  facts: readonly LedgerFact[],
  {
    source = "RESPONSE",
    requestId,
    ...statement
  }: Partial<GatewayReport> & Partial<Pick<Report, "source" | "requestId">> = {},
): Report {
  return { ...webhookOf(payment, facts, statement), source, paymentId: payment.id, requestId };
}

/** Stores a request of a payment to its gateway and, for a refund, the refund, as the service does before its call. */
export async function insertRequest(
  { query }: Pick<TestDatabase, "query">,
  { id: paymentId, orderId, minorUnits: all }: TestPayment,
  kind: "CAPTURE" | "CANCEL" | "REFUND",
  { minorUnits = all, state = "OPEN" }: { minorUnits?: bigint; state?: "OPEN" | "DEAD" } = {},
): Promise<string> {
  const id = newId();
  const amount = kind === "CANCEL" ? null : minorUnits.toString();
  await query(
    `insert into payment_request (id, payment_id, order_id, kind, amount_minor, state, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $6, now(), now())`,
    [id, paymentId, orderId, kind, amount, state],
  );
  if (kind !== "REFUND") return id;
  await query(
    `with requested as (
       update payment set requested_refund_minor = requested_refund_minor + $4::bigint where id = $2
     )
     insert into refund (id, order_id, payment_id, kind, amount_minor, shipping_minor, state, actor, created_at)
     values ($1, $3, $2, 'AMOUNT', $4, $4, 'PENDING', 'SYSTEM', now())`,
    [id, paymentId, orderId, amount],
  );
  return id;
}

/** Returns rows of a payment's table, oldest first. */
export function rowsOf(
  { query }: Pick<TestDatabase, "query">,
  table: "ledger_entry" | "payment_request" | "refund" | "payment_discrepancy",
  { id }: Pick<TestPayment, "id">,
): Promise<Record<string, unknown>[]> {
  return query(`select * from ${table} where payment_id = $1 order by id`, [id]);
}
