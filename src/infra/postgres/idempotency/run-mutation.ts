import type { Call } from "../../../kernel/call.ts";
import { requestOwner } from "../../../kernel/principal.ts";
import type { Database, Tx } from "../postgres.ts";
import { type IdempotentResult, runIdempotent } from "./run-idempotent.ts";

export interface MutationOptions {
  /** Name of the RPC method. Equal request_ids of different methods are different requests. */
  method: string;
  /** The caller that the request_id belongs to. Defaults to the call's principal. */
  owner?: string;
  /** Idempotency key; empty for a request without one, which is not deduplicated. */
  requestId: string;
  /** Whether the changes are rolled back after all checks. Defaults to false. */
  validateOnly?: boolean;
}

/**
 * Runs a change in one transaction, once for each request_id.
 * @param request the content of the request, which must be the same in a repeat
 * @throws AppError invalid_argument when the request_id was used for another request
 */
export async function runMutation<T>(
  db: Database,
  call: Call,
  { method, owner = requestOwner(call.principal), requestId, validateOnly = false }: MutationOptions,
  request: unknown,
  work: (tx: Tx) => Promise<T>,
): Promise<IdempotentResult<T>> {
  const run = (tx: Tx) => runIdempotent(tx, { method, owner, requestId }, request, () => work(tx));
  return validateOnly ? db.dryRun(call, run) : db.transact(call, run);
}
