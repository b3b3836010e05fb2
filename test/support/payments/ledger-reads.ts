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
  /** Returns the refunds of a payment, oldest first. */
  refunds(payment: Pick<TestPayment, "id">): Promise<Record<string, unknown>[]>;
  /** Returns the kind, the state and the amount of each request of a payment, oldest first. */
  requests(payment: Pick<TestPayment, "id">): Promise<unknown[][]>;
}

/** Returns an automatic refund as it is read before the gateway has responded. */
export function automaticRefund(cause: string, amount: string): Record<string, unknown> {
  return { kind: "AUTOMATIC", cause, amount_minor: amount, state: "PENDING" };
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
    async refunds(payment) {
      const rows = await rowsOf(database, "refund", payment);
      return rows.map(({ kind, cause, amount_minor, state }) => ({ kind, cause, amount_minor, state }));
    },
    async requests(payment) {
      const rows = await rowsOf(database, "payment_request", payment);
      return rows.map(({ kind, state, amount_minor: amount }) => [kind, state, amount]);
    },
  };
}
