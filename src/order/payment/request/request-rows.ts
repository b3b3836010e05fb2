import { sql } from "kysely";
import type { Jobs } from "../../../infra/jobs/jobs.ts";
import { paymentRequestQueue } from "../../../infra/jobs/queues.ts";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { prepare } from "../../../infra/postgres/statement.ts";
import type { EnqueueRequests } from "../../ledger/insert-requests.ts";
import type { KnownRequest } from "../../ledger/ledger-rows.ts";

/** A request, with what its call needs of the payment. */
export interface PaymentRequest extends Pick<KnownRequest, "id" | "kind" | "state"> {
  payment_id: string;
  order_id: string;
  amount_minor: string | null;
  is_final: boolean;
  /** Number of attempts that have failed so far. */
  attempts: number;
  gateway: string;
  reference: string | null;
  currency: string;
}

/** How an attempt to run a request has ended. */
export interface AttemptOutcome {
  /** DEAD: the last attempt has failed, and the outcome is unknown. */
  state: "OPEN" | "FAILED" | "DEAD";
  attempts: number;
  /** Message of the failure. */
  lastError: string;
}

/** Returns the statement that finds a request. */
export const findRequest = prepare<[id: string], PaymentRequest>(
  (id) => sql`
    select request.*, gateway, reference, currency
    from payment_request as request join payment on payment.id = payment_id
    where request.id = ${id}`,
);
const LOCK_ORDER = prepare<[orderId: string], object>(
  (orderId) => sql`select from orders where id = ${orderId} for update`,
);
const RECORD = prepare<[id: string, state: string, attempts: number, lastError: string, now: Date], object>(
  (id, state, attempts, lastError, now) => sql`
    update payment_request set state = ${state}, attempts = ${attempts}, last_error = ${lastError}, updated_at = ${now}
    where id = ${id} and state in ('OPEN', 'DEAD')`,
);

/** Creates the function that enqueues the jobs of requests: they call the gateway after the commit. */
export function createEnqueueRequests(jobs: Pick<Jobs, "enqueue">): EnqueueRequests {
  return async (tx, requestIds) => {
    for (const requestId of requestIds) await jobs.enqueue(tx, paymentRequestQueue, { requestId });
  };
}

/** Locks the order of a request, and records how an attempt has ended unless the request has a definite response. */
export async function recordAttempt(
  tx: Tx,
  { id, order_id: orderId }: Pick<PaymentRequest, "id" | "order_id">,
  { state, attempts, lastError }: AttemptOutcome,
  now: Date,
): Promise<void> {
  await tx.query(LOCK_ORDER(orderId));
  await tx.query(RECORD(id, state, attempts, lastError, now));
}
