import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { arraysOf, type ListColumn, prepareList, unnest } from "../../infra/postgres/statement.ts";
import type { KnownRequest } from "./ledger-rows.ts";

/** A request of the service to a gateway. Its id is the idempotency key. */
export interface NewRequest extends Pick<KnownRequest, "id" | "kind"> {
  paymentId: string;
  orderId: string;
  /** In minor units; null for a cancellation. */
  minorUnits: bigint | null;
  /** Whether the rest of the authorization ends with a capture. */
  isFinal: boolean;
  now: Date;
}

/** Enqueues the jobs of requests that the transaction has stored. */
export type EnqueueRequests = (tx: Tx, requestIds: readonly string[]) => Promise<void>;

const COLUMNS: readonly ListColumn<NewRequest>[] = [
  { name: "id", type: "uuid", value: ({ id }) => id },
  { name: "payment_id", type: "uuid", value: ({ paymentId }) => paymentId },
  { name: "order_id", type: "uuid", value: ({ orderId }) => orderId },
  { name: "kind", type: "text", value: ({ kind }) => kind },
  { name: "amount_minor", type: "bigint", value: ({ minorUnits }) => minorUnits?.toString() ?? null },
  { name: "is_final", type: "boolean", value: ({ isFinal }) => isFinal },
  { name: "created_at", type: "timestamptz", value: ({ now }) => now },
  { name: "updated_at", type: "timestamptz", value: ({ now }) => now },
];
const INSERT = prepareList<object>(
  COLUMNS.length,
  (arrays) => sql`
    insert into payment_request (${sql.join(COLUMNS.map(({ name }) => sql.ref(name)))})
    select * from ${unnest(COLUMNS, arrays, "request")}`,
);

/** Stores requests of payments whose orders are locked, and enqueues their jobs. */
export async function insertRequests(
  tx: Tx,
  enqueue: EnqueueRequests,
  requests: readonly NewRequest[],
): Promise<void> {
  if (requests.length === 0) return;
  await tx.query(INSERT(arraysOf(COLUMNS, requests)));
  await enqueue(
    tx,
    requests.map(({ id }) => id),
  );
}
