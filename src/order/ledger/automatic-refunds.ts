import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { arraysOf, type ListColumn, prepare, prepareList, unnest } from "../../infra/postgres/statement.ts";
import type { Order } from "../order-types.ts";
import { allocateRefund } from "../refund/allocate-refund.ts";
import { type RefundShares, refundPartsLeft } from "../refund/refund-parts.ts";
import { type LedgerPayment, moneyOf } from "./ledger-rows.ts";
import { foreignRefundsOf } from "./refundable.ts";

/** A refund that the service makes by itself. */
export interface AutomaticRefund {
  /** Also that of the request to the gateway. */
  id: string;
  order: Order;
  /** The payment without the refund. */
  payment: LedgerPayment;
  minorUnits: bigint;
  /** A payment has one refund for each cause. */
  cause: string;
  reason: string;
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

/** Returns what the refunds of payments that have not failed take of their parts, by payment. */
export async function readRefundShares(
  tx: Tx,
  paymentIds: readonly string[],
): Promise<Map<string, RefundShares[]>> {
  const rows = await tx.query(FIND_SHARES(paymentIds));
  const shares = Map.groupBy(rows, ({ payment_id: id }) => id);
  return new Map([...shares].map(([id, ofPayment]) => [id, ofPayment.map(sharesFromRow)]));
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

/** A refund with its shares of the items and of the shipping. */
interface SharedRefund extends AutomaticRefund {
  shares: RefundShares;
}

const REFUND_COLUMNS: readonly ListColumn<SharedRefund>[] = [
  { name: "id", type: "uuid", value: ({ id }) => id },
  { name: "order_id", type: "uuid", value: ({ order }) => order.id },
  { name: "payment_id", type: "uuid", value: ({ payment }) => payment.id },
  { name: "kind", type: "text", value: () => "AUTOMATIC" },
  { name: "cause", type: "text", value: ({ cause }) => cause },
  { name: "amount_minor", type: "bigint", value: ({ minorUnits }) => minorUnits.toString() },
  { name: "shipping_minor", type: "bigint", value: ({ shares }) => shares.shippingAmount.toString() },
  { name: "shipping_tax_minor", type: "bigint", value: ({ shares }) => shares.shippingTax.toString() },
  { name: "state", type: "text", value: () => "PENDING" },
  { name: "reason", type: "text", value: ({ reason }) => reason },
  { name: "actor", type: "text", value: () => "SYSTEM" },
  { name: "created_at", type: "timestamptz", value: ({ now }) => now },
];
type Line = RefundShares["lines"][number] & { refundId: string };
const LINE_COLUMNS: readonly ListColumn<Line>[] = [
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
 * Stores automatic refunds of payments whose orders are locked. The amount of each is divided among what is left of the
 * payment. The requests to the gateway are rows of their own.
 */
export async function insertAutomaticRefunds(tx: Tx, refunds: readonly AutomaticRefund[]): Promise<void> {
  if (refunds.length === 0) return;
  const earlier = await readRefundShares(
    tx,
    refunds.map(({ payment }) => payment.id),
  );
  const shared = refunds.map((refund): SharedRefund => {
    const { order, payment, minorUnits } = refund;
    const { captured, lost } = moneyOf(payment);
    const left = refundPartsLeft(order, {
      captured,
      otherReturns: foreignRefundsOf(payment) + lost,
      cancelledUnits: payment.cancelledUnits,
      earlier: earlier.get(payment.id) ?? [],
    });
    const shares = allocateRefund(order.id, left, minorUnits, { kind: "AMOUNT", amount: minorUnits });
    return { ...refund, shares };
  });
  const lines = shared.flatMap(({ id, shares }) =>
    shares.lines.map((line): Line => ({ ...line, refundId: id })),
  );
  await tx.query(INSERT([...arraysOf(REFUND_COLUMNS, shared), ...arraysOf(LINE_COLUMNS, lines)]));
}
