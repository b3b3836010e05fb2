import { sql } from "kysely";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import type { Ids } from "../../kernel/ids.ts";
import { principalName } from "../../kernel/principal.ts";
import type { Database, TransactionLimits, Tx } from "../postgres/postgres.ts";

/** Actor of the administration commands, which run without a principal. */
const OPERATOR = "operator";

/** Dependencies of the audit log. */
export interface AuditOptions {
  ids: Ids;
  clock: Clock;
}

/**
 * Wraps a database so that transactions of calls with audit details write an audit entry: it is committed together
 * with the change, or not at all.
 */
export function withAuditLog(db: Database, options: AuditOptions): Database {
  return {
    ...db,
    transact<T>(call: Call, work: (tx: Tx) => Promise<T>, limits?: TransactionLimits): Promise<T> {
      if (call.audit === undefined) return db.transact(call, work, limits);
      return db.transact(
        call,
        async (tx) => {
          const result = await work(tx);
          await recordAudit(tx, [call], options);
          return result;
        },
        limits,
      );
    },
  };
}

/** Writes the audit entries of calls whose changes share a transaction. Calls without audit details have none. */
export async function recordAudit(
  tx: Tx,
  calls: readonly Call[],
  { ids, clock }: AuditOptions,
): Promise<void> {
  const entries = calls.flatMap(({ audit, principal, clientAddress }) =>
    audit === undefined ? [] : [{ ...audit, actor: principalName(principal) || OPERATOR, clientAddress }],
  );
  if (entries.length === 0) return;
  const column = <T>(value: (entry: (typeof entries)[number]) => T) => entries.map(value);
  await tx.query(sql`
    insert into audit_entry (id, actor, role, method, request, client_address, created_at)
    select *, ${clock.now()}::timestamptz from unnest(
      ${column(() => ids())}::uuid[], ${column(({ actor }) => actor)}::text[], ${column(({ role }) => role)}::text[],
      ${column(({ method }) => method)}::text[], ${column(({ request }) => request)}::text[],
      ${column((entry) => entry.clientAddress)}::text[]
    )`);
}
