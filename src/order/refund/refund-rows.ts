import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { arraysOf, type ListColumn, prepare, prepareList, unnest } from "../../infra/postgres/statement.ts";
import { type LedgerPayment, moneyOf } from "../ledger/ledger-rows.ts";
import { certainlyCaptured, foreignRefundsOf } from "../ledger/refundable.ts";
import { type RefundBasis, type RefundShares, sharedAmount } from "./refund-parts.ts";

/** The subject of a refund. AUTOMATIC: the service has made it by itself. */
export type RefundKind = "ITEMS" | "AMOUNT" | "SHIPPING" | "AUTOMATIC";

/** A refund that is decided on. */
export interface NewRefund {
  /** Also that of the request to the gateway. */
  id: string;
  orderId: string;
  paymentId: string;
  kind: RefundKind;
  /** The cause of an automatic refund: a payment has one for each. Empty for others. */
  cause: string;
  shares: RefundShares;
  /** SUCCEEDED: staff have made it by hand. */
  state: "PENDING" | "SUCCEEDED";
  reason: string;
  /** Reference of a refund by hand; empty for others. */
  reference: string;
  /** Who has requested it, as events store it. */
  actor: string;
  now: Date;
}

interface SharesRow {
  payment_id: string;
  shipping_minor: string;
  shipping_tax_minor: string;
  lines: { position: number; quantity: string; amount: string; tax: string }[];
}

const FIND_SHARES = prepare<[paymentIds: readonly string[]], SharesRow>(
  (paymentIds) => sql`
    select payment_id, shipping_minor, shipping_tax_minor, (
      select coalesce(json_agg(json_build_object(
        'position', position, 'quantity', quantity::text, 'amount', amount_minor::text, 'tax', tax_minor::text
      ) order by position), '[]') from refund_line where refund_id = refund.id
    ) as lines
    from refund where payment_id = any(${paymentIds}::uuid[]) and state <> 'FAILED' order by id`,
);

/** Returns what refunds depend on, by payment. The orders of the payments are locked. */
export async function readRefundBases(
  tx: Tx,
  payments: readonly LedgerPayment[],
): Promise<Map<string, RefundBasis>> {
  const rows = await tx.query(FIND_SHARES(payments.map(({ id }) => id)));
  const rowsOf = Map.groupBy(rows, ({ payment_id: id }) => id);
  return new Map(
    payments.map((payment) => {
      const basis: RefundBasis = {
        captured: certainlyCaptured(payment),
        otherReturns: foreignRefundsOf(payment) + moneyOf(payment).lost,
        cancelledUnits: payment.cancelledUnits,
        earlier: (rowsOf.get(payment.id) ?? []).map(sharesFromRow),
      };
      return [payment.id, basis];
    }),
  );
}

function sharesFromRow(row: SharesRow): RefundShares {
  return {
    lines: row.lines.map(({ position, quantity, amount, tax }) => ({
      itemId: String(position),
      quantity: BigInt(quantity),
      amount: BigInt(amount),
      tax: BigInt(tax),
    })),
    shippingAmount: BigInt(row.shipping_minor),
    shippingTax: BigInt(row.shipping_tax_minor),
  };
}

const REFUND_COLUMNS: readonly ListColumn<NewRefund>[] = [
  { name: "id", type: "uuid", value: ({ id }) => id },
  { name: "order_id", type: "uuid", value: ({ orderId }) => orderId },
  { name: "payment_id", type: "uuid", value: ({ paymentId }) => paymentId },
  { name: "kind", type: "text", value: ({ kind }) => kind },
  { name: "cause", type: "text", value: ({ cause }) => cause || null },
  { name: "amount_minor", type: "bigint", value: ({ shares }) => sharedAmount(shares).toString() },
  { name: "shipping_minor", type: "bigint", value: ({ shares }) => shares.shippingAmount.toString() },
  { name: "shipping_tax_minor", type: "bigint", value: ({ shares }) => shares.shippingTax.toString() },
  { name: "state", type: "text", value: ({ state }) => state },
  { name: "reason", type: "text", value: ({ reason }) => reason },
  { name: "reference", type: "text", value: ({ reference }) => reference || null },
  { name: "actor", type: "text", value: ({ actor }) => actor },
  { name: "created_at", type: "timestamptz", value: ({ now }) => now },
  {
    name: "completed_at",
    type: "timestamptz",
    value: ({ state, now }) => (state === "PENDING" ? null : now),
  },
];
type NewLine = RefundShares["lines"][number] & { refundId: string };
const LINE_COLUMNS: readonly ListColumn<NewLine>[] = [
  { name: "refund_id", type: "uuid", value: ({ refundId }) => refundId },
  { name: "position", type: "smallint", value: ({ itemId }) => itemId },
  { name: "quantity", type: "bigint", value: ({ quantity }) => quantity.toString() },
  { name: "amount_minor", type: "bigint", value: ({ amount }) => amount.toString() },
  { name: "tax_minor", type: "bigint", value: ({ tax }) => tax.toString() },
];
const namesOf = (columns: readonly { name: string }[]) => sql.join(columns.map(({ name }) => sql.ref(name)));
const INSERT = prepareList<object>(
  REFUND_COLUMNS.length + LINE_COLUMNS.length,
  (arrays) => sql`
    with created as (
      insert into refund (${namesOf(REFUND_COLUMNS)}) select * from ${unnest(REFUND_COLUMNS, arrays, "refund")}
    )
    insert into refund_line (${namesOf(LINE_COLUMNS)})
    select * from ${unnest(LINE_COLUMNS, arrays.slice(REFUND_COLUMNS.length), "line")}`,
);

/**
 * Stores refunds of payments whose orders are locked, with their shares. The sums of the payments and the requests to the
 * gateways are rows of their own.
 */
export async function insertRefunds(tx: Tx, refunds: readonly NewRefund[]): Promise<void> {
  if (refunds.length === 0) return;
  const lines = refunds.flatMap(({ id, shares }) =>
    shares.lines.map((line): NewLine => ({ ...line, refundId: id })),
  );
  await tx.query(INSERT([...arraysOf(REFUND_COLUMNS, refunds), ...arraysOf(LINE_COLUMNS, lines)]));
}
