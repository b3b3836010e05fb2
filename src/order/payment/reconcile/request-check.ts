import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { prepare } from "../../../infra/postgres/statement.ts";
import type { Clock } from "../../../kernel/clock.ts";
import { notFound } from "../../../kernel/errors.ts";
import { paymentStateError } from "../payment-errors.ts";
import type { PaymentRow } from "../payment-row.ts";

const FIND = prepare<[id: string], Pick<PaymentRow, "gateway" | "state">>(
  (id) => sql`select gateway, state from payment where id = ${id}`,
);
// Like the rounds of the reconciliation, this needs no lock of the order: it changes no money.
const SET_DUE = prepare<[id: string, now: Date], object>(
  (id, now) => sql`
    update payment set check_reason = coalesce(check_reason, 'SETTLE'), check_at = ${now} where id = ${id}`,
);

/**
 * Makes the query about a payment due now, which a running reconciliation then sends to the gateway.
 * @throws AppError not_found; failed_precondition for a payment by hand
 */
export async function requestCheck({ clock }: { clock: Clock }, tx: Tx, id: string): Promise<void> {
  const [found] = await tx.query(FIND(id));
  if (found === undefined) throw notFound("payment", id);
  if (found.gateway === "manual") {
    throw paymentStateError({ id, state: found.state }, "it was made by hand. Ask who has recorded it.");
  }
  await tx.query(SET_DUE(id, clock.now()));
}
