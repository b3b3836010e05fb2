import type { Call } from "../../../kernel/call.ts";
import { requestOwner } from "../../../kernel/principal.ts";
import type { Database, Tx } from "../postgres.ts";
import { type IdempotentResult, runIdempotent } from "./run-idempotent.ts";

export interface MutationOptions {
  /** Name of the RPC method. Equal request_ids of different methods are different requests. */
  method: string;
  /** The caller that the request_id belongs to. By default the call's principal, so that no caller sees another's. */
  owner?: string;
  /** Idempotency key; empty for a request that is not repeatable. */
  requestId: string;
  /** Rolls the changes back after all checks. False by default. */
  validateOnly?: boolean;
}

/**
 * Runs a change in one transaction, once for each request_id.
 * @param request what is asked for; a repeat must ask for the same
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
