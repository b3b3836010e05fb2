import type { Call } from "../../kernel/call.ts";
import { requestOwner } from "../../kernel/principal.ts";
import { type IdempotentResult, runIdempotent } from "./idempotency.ts";
import type { Database, Tx } from "./postgres.ts";

/** How a change is to be done: once for its request_id, or only tried. */
export interface MutationOptions {
  method: string;
  /** Whose request_id it is. By default the caller's: nobody is given the answer to somebody else's. */
  owner?: string;
  requestId: string;
  validateOnly?: boolean;
}

/**
 * Runs a change in one transaction: once for its request_id, which is refused for another `body`; or, with
 * `validateOnly`, to its end and undone.
 */
export async function runMutation<T>(
  db: Database,
  call: Call,
  options: MutationOptions,
  body: unknown,
  work: (tx: Tx) => Promise<T>,
): Promise<IdempotentResult<T>> {
  const { method, owner = requestOwner(call.principal), requestId, validateOnly = false } = options;
  const all = (tx: Tx) => runIdempotent(tx, { method, owner, requestId }, body, () => work(tx));
  return validateOnly ? db.dryRun(call, all) : db.transact(call, all);
}
