import { sql } from "kysely";
import type { PaymentStep } from "../../infra/payment/payment-gateway.ts";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { arraysOf, type ListColumn, prepare, prepareList, unnest } from "../../infra/postgres/statement.ts";
import { type PaymentRow, SELECT_PAYMENT } from "../payment/payment-row.ts";
import type { LedgerSource } from "./list-entries.ts";
import { derivePaymentMoney, type LedgerAmount, type PaymentMoney } from "./payment-money.ts";

/** An entry of a payment. */
export interface KnownEntry extends LedgerAmount {
  currency: string;
  /** Id of the request of the service that has caused it; empty for none. */
  requestId: string;
  /** Reference of a payment or refund by hand, or the reason of a failure. */
  note: string;
}

/** A refund of a payment. */
export interface KnownRefund {
  id: string;
  state: "PENDING" | "SUCCEEDED" | "FAILED";
  minorUnits: bigint;
  /** Empty unless it is automatic. */
  cause: string;
}

/** A request of the service to a gateway. */
export interface KnownRequest {
  id: string;
  kind: "CAPTURE" | "CANCEL" | "REFUND";
  state: "OPEN" | "DONE" | "FAILED" | "DEAD";
}

/** Why and when the gateway has to be asked about a payment. */
export interface PaymentCheck {
  reason: "DOUBT" | "SETTLE";
  at: Date;
  /** Number of the checks that were made already. */
  checks: number;
}

/** A payment of an order that is locked, with all that its amounts follow from. */
export interface LedgerPayment
  extends Pick<PaymentRow, "id" | "gateway" | "currency" | "reference" | "state" | "client_secret"> {
  orderId: string;
  minorUnits: bigint;
  step: PaymentStep;
  isOpen: boolean;
  requestedRefund: bigint;
  hasMethodToken: boolean;
  failureCode: string | null;
  failureMessage: string | null;
  captureBefore: Date | undefined;
  check: PaymentCheck | undefined;
  /** Units that were cancelled before the payment, by item. */
  cancelledUnits: ReadonlyMap<string, bigint>;
  /** Whether a fact has two amounts, and no person has resolved that: nothing is refunded until then. */
  hasConflict: boolean;
  /** Oldest first. */
  entries: readonly KnownEntry[];
  refunds: readonly KnownRefund[];
  requests: readonly KnownRequest[];
}

/** An entry to store. */
export interface NewEntry extends KnownEntry {
  id: string;
  /** Empty, like the payment, if the payment does not exist. */
  orderId: string;
  paymentId: string;
  gateway: PaymentRow["gateway"];
  source: LedgerSource;
  gatewayTime: Date | undefined;
  createTime: Date;
}

interface StoredLedgerPayment extends PaymentRow {
  step: PaymentStep;
  is_open: boolean;
  check_at: string | null;
  checks: number;
  method_token: string | null;
  cancelled_units: Record<string, string> | null;
  has_conflict: boolean;
  // Amounts are text, since JSON parsers round large ones.
  entries: (Pick<KnownEntry, "type" | "reference" | "currency" | "note"> & {
    minor: string;
    request: string | null;
  })[];
  refunds: (Pick<KnownRefund, "id" | "state"> & { minor: string; cause: string | null })[];
  requests: KnownRequest[];
}

const FIND = prepare<[orderIds: readonly string[]], StoredLedgerPayment>(
  (orderIds) => sql`
    select found.*, exists (
        select from payment_discrepancy as open
        where open.order_id = found.order_id and open.payment_id = found.id and open.kind = 'AMOUNT_CONFLICT'
          and open.resolved_at is null
      ) as has_conflict,
      (
        select coalesce(json_agg(json_build_object(
          'type', type, 'reference', reference, 'minor', amount_minor::text, 'currency', currency, 'request', request_id, 'note', note
        ) order by id), '[]') from ledger_entry where payment_id = found.id
      ) as entries,
      (
        select coalesce(json_agg(json_build_object(
          'id', id, 'state', state, 'minor', amount_minor::text, 'cause', cause
        ) order by id), '[]') from refund where payment_id = found.id
      ) as refunds,
      (
        select coalesce(json_agg(json_build_object('id', id, 'kind', kind, 'state', state) order by id), '[]')
        from payment_request where payment_id = found.id
      ) as requests
    from (${SELECT_PAYMENT} where order_id = any(${orderIds}::uuid[])) as found order by order_id, id`,
);

/** Returns the payments of orders, in the order of their ids. To be called after the orders were locked. */
export async function readLedgerPayments(tx: Tx, orderIds: readonly string[]): Promise<LedgerPayment[]> {
  return (await tx.query(FIND(orderIds))).map(fromRow);
}

function fromRow(row: StoredLedgerPayment): LedgerPayment {
  const { check_reason: reason, check_at: at, checks } = row;
  return {
    id: row.id,
    orderId: row.order_id,
    gateway: row.gateway,
    currency: row.currency,
    reference: row.reference,
    state: row.state,
    client_secret: row.client_secret,
    minorUnits: BigInt(row.amount_minor),
    step: row.step,
    isOpen: row.is_open,
    requestedRefund: BigInt(row.requested_refund_minor),
    hasMethodToken: row.method_token !== null,
    failureCode: row.failure_code,
    failureMessage: row.failure_message,
    captureBefore: row.capture_before === null ? undefined : new Date(row.capture_before),
    check: reason === null || at === null ? undefined : { reason, at: new Date(at), checks },
    cancelledUnits: new Map(
      Object.entries(row.cancelled_units ?? {}).map(([itemId, units]) => [itemId, BigInt(units)]),
    ),
    hasConflict: row.has_conflict,
    entries: row.entries.map(({ minor, request, ...entry }) => ({
      ...entry,
      minorUnits: BigInt(minor),
      requestId: request ?? "",
    })),
    refunds: row.refunds.map(({ minor, cause, ...refund }) => ({
      ...refund,
      minorUnits: BigInt(minor),
      cause: cause ?? "",
    })),
    requests: row.requests,
  };
}

/** Derives the amounts of a payment. Entries in another currency than that of the payment do not count. */
export function moneyOf({ entries, currency }: Pick<LedgerPayment, "entries" | "currency">): PaymentMoney {
  return derivePaymentMoney(entries.filter((entry) => entry.currency === currency));
}

const ENTRY_COLUMNS: readonly ListColumn<NewEntry>[] = [
  { name: "id", type: "uuid", value: ({ id }) => id },
  { name: "order_id", type: "uuid", value: ({ orderId }) => orderId || null },
  { name: "payment_id", type: "uuid", value: ({ paymentId }) => paymentId || null },
  { name: "gateway", type: "text", value: ({ gateway }) => gateway },
  { name: "type", type: "text", value: ({ type }) => type },
  { name: "reference", type: "text", value: ({ reference }) => reference },
  { name: "amount_minor", type: "bigint", value: ({ minorUnits }) => minorUnits.toString() },
  { name: "currency", type: "text", value: ({ currency }) => currency },
  { name: "request_id", type: "uuid", value: ({ requestId }) => requestId || null },
  { name: "source", type: "text", value: ({ source }) => source },
  { name: "note", type: "text", value: ({ note }) => note },
  { name: "gateway_time", type: "timestamptz", value: ({ gatewayTime }) => gatewayTime ?? null },
  { name: "created_at", type: "timestamptz", value: ({ createTime }) => createTime },
];

const INSERT_ENTRIES = prepareList<{ id: string }>(
  ENTRY_COLUMNS.length,
  (arrays) => sql`
    insert into ledger_entry (${sql.join(ENTRY_COLUMNS.map(({ name }) => sql.ref(name)))})
    select * from ${unnest(ENTRY_COLUMNS, arrays, "entry")}
    on conflict (gateway, type, reference, amount_minor, currency) do nothing returning id`,
);

/**
 * Stores entries.
 * @returns the number of those that were stored: the others are stored already
 */
export async function insertEntries(tx: Tx, entries: readonly NewEntry[]): Promise<number> {
  if (entries.length === 0) return 0;
  return (await tx.query(INSERT_ENTRIES(arraysOf(ENTRY_COLUMNS, entries)))).length;
}
