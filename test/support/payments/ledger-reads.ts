import type { TestDatabase } from "../stores/database.ts";
import { rowsOf, type TestPayment } from "./ledger-fixtures.ts";

/** Reads what tests of the ledger compare. */
export interface LedgerReads {
  /** Returns the row of a payment. */
  payment(payment: Pick<TestPayment, "id">): Promise<Record<string, unknown>>;
  /** Returns the payment state, the amounts and the version of the order of a payment. */
  order(payment: Pick<TestPayment, "orderId">): Promise<Record<string, unknown>>;
  /** Returns the discrepancies of a payment, oldest first. */
  discrepancies(payment: Pick<TestPayment, "id">): Promise<Record<string, unknown>[]>;
}

/** Creates the reads. */
export function createLedgerReads(database: Pick<TestDatabase, "query">): LedgerReads {
  const first = async (text: string, id: string) =>
    (await database.query<Record<string, unknown>>(text, [id]))[0] ?? {};
  return {
    payment: ({ id }) => first("select * from payment where id = $1", id),
    order: ({ orderId }) =>
      first("select payment_state, paid_minor, refunded_minor, version from orders where id = $1", orderId),
    async discrepancies(payment) {
      const rows = await rowsOf(database, "payment_discrepancy", payment);
      return rows.map(({ kind, reference, expected_minor: expected, actual_minor: actual }) => ({
        kind,
        reference,
        expected,
        actual,
      }));
    },
  };
}
