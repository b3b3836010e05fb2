import { sql } from "kysely";
import { z } from "zod";
import { arraysOf, type ListColumn, prepare, prepareList, unnest } from "../../postgres/statement.ts";
import type { CaptureMethod, PaymentStep } from "../payment-gateway.ts";
import { decodeFact, encodedFact, encodeFact } from "./fact-codec.ts";
import type { SandboxPayment } from "./sandbox-payment.ts";
import type { SandboxEvent } from "./webhook/sandbox-event.ts";

/** A payment as `SELECT_PAYMENT` and `LOCK_PAYMENTS` return it. */
export interface SandboxPaymentRow {
  id: string;
  payment_id: string;
  order_id: string;
  amount_minor: string;
  currency: string;
  capture: CaptureMethod;
  token: string;
  step: PaymentStep;
  client_secret: string;
  facts: string;
  requests: string;
  capture_before: string | null;
}

/** An event to insert. */
export interface NewEvent extends SandboxEvent {
  /** Id of its payment at the sandbox. */
  sandboxPaymentId: string;
  createdAt: Date;
  dueAt: Date;
  /** Deliveries that were started. */
  attempts: number;
}

const COLUMNS = sql`
  id, payment_id, order_id, amount_minor, currency, capture, token, step, client_secret, facts::text as facts,
  requests::text as requests, capture_before`;

/** Selects a payment by the id of the caller. */
export const SELECT_PAYMENT = prepare<[paymentId: string], SandboxPaymentRow>(
  (paymentId) => sql`select ${COLUMNS} from sandbox_payment where payment_id = ${paymentId}`,
);

/** Locks payments by the ids of the callers. */
export const LOCK_PAYMENTS = prepare<[paymentIds: readonly string[]], SandboxPaymentRow>(
  (paymentIds) => sql`
    select ${COLUMNS} from sandbox_payment where payment_id = any(${paymentIds}::uuid[])
    order by payment_id for update`,
);

/** Selects the payments that other sessions have locked. */
export const SELECT_LOCKED = prepare<[paymentIds: readonly string[]], { payment_id: string }>(
  (paymentIds) => sql`
    with free as (
      select payment_id from sandbox_payment where payment_id = any(${paymentIds}::uuid[]) for update skip locked
    )
    select payment_id from sandbox_payment
    where payment_id = any(${paymentIds}::uuid[]) and payment_id not in (select payment_id from free)`,
);

const encodedFacts = z.array(encodedFact);
const encodedRequests = z.array(z.string());

/** Returns the payment of a row. */
export function paymentFromRow(row: SandboxPaymentRow): SandboxPayment {
  const { currency: currencyCode } = row;
  return {
    id: row.id,
    paymentId: row.payment_id,
    orderId: row.order_id,
    amount: { currencyCode, minorUnits: BigInt(row.amount_minor) },
    capture: row.capture,
    token: row.token,
    step: row.step,
    clientSecret: row.client_secret,
    facts: encodedFacts.parse(JSON.parse(row.facts)).map((fact) => decodeFact(fact, currencyCode)),
    requests: encodedRequests.parse(JSON.parse(row.requests)),
    captureBefore: row.capture_before === null ? undefined : new Date(row.capture_before),
  };
}

const PAYMENT_COLUMNS: readonly ListColumn<SandboxPayment>[] = [
  { name: "id", type: "text", value: ({ id }) => id },
  { name: "payment_id", type: "uuid", value: ({ paymentId }) => paymentId },
  { name: "order_id", type: "uuid", value: ({ orderId }) => orderId },
  { name: "amount_minor", type: "bigint", value: ({ amount }) => amount.minorUnits.toString() },
  { name: "currency", type: "text", value: ({ amount }) => amount.currencyCode },
  { name: "capture", type: "text", value: ({ capture }) => capture },
  { name: "token", type: "text", value: ({ token }) => token },
  { name: "step", type: "text", value: ({ step }) => step },
  { name: "client_secret", type: "text", value: ({ clientSecret }) => clientSecret },
  { name: "facts", type: "jsonb", value: ({ facts }) => JSON.stringify(facts.map(encodeFact)) },
  { name: "requests", type: "jsonb", value: ({ requests }) => JSON.stringify(requests) },
  { name: "capture_before", type: "timestamptz", value: ({ captureBefore }) => captureBefore ?? null },
];

const EVENT_COLUMNS: readonly ListColumn<NewEvent>[] = [
  { name: "id", type: "text", value: ({ id }) => id },
  { name: "sandbox_payment_id", type: "text", value: ({ sandboxPaymentId }) => sandboxPaymentId },
  { name: "body", type: "text", value: ({ body }) => body },
  { name: "due_at", type: "timestamptz", value: ({ dueAt }) => dueAt },
  { name: "attempts", type: "int", value: ({ attempts }) => attempts },
  { name: "created_at", type: "timestamptz", value: ({ createdAt }) => createdAt },
];

const ARRAYS = PAYMENT_COLUMNS.length + EVENT_COLUMNS.length;

/**
 * Inserts new payments, updates locked ones, and inserts their events. A payment that another session has created
 * meanwhile, under another id, is left out.
 */
const WRITE_PAYMENTS = prepareList<{ id: string }>(ARRAYS + 1, (parameters) => {
  const now = parameters[ARRAYS];
  return sql`
    with written as (
      insert into sandbox_payment (
        id, payment_id, order_id, amount_minor, currency, capture, token, step, client_secret, facts, requests,
        capture_before, created_at, updated_at
      )
      select id, payment_id, order_id, amount_minor, currency, capture, token, step, client_secret, facts, requests,
        capture_before, ${now}, ${now}
      from ${unnest(PAYMENT_COLUMNS, parameters, "payment")}
      on conflict (payment_id) do update set token = excluded.token, step = excluded.step, facts = excluded.facts,
        requests = excluded.requests, capture_before = excluded.capture_before, updated_at = excluded.updated_at
      where sandbox_payment.id = excluded.id
      returning id
    ),
    event as (
      insert into sandbox_event (id, sandbox_payment_id, body, due_at, attempts, created_at)
      select * from ${unnest(EVENT_COLUMNS, parameters.slice(PAYMENT_COLUMNS.length), "event")}
      where sandbox_payment_id in (select id from written)
    )
    select id from written`;
});

/** Returns the statement that writes payments and their events, and returns the ids of the written payments. */
export function writePayments(payments: readonly SandboxPayment[], events: readonly NewEvent[], now: Date) {
  return WRITE_PAYMENTS([...arraysOf(PAYMENT_COLUMNS, payments), ...arraysOf(EVENT_COLUMNS, events), now]);
}
