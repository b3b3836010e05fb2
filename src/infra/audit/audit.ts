import { sql } from "kysely";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import type { Ids } from "../../kernel/ids.ts";
import { principalName } from "../../kernel/principal.ts";
import type { Database, Tx } from "../postgres/postgres.ts";

/** Actor of the administration commands, which run without a principal. */
const OPERATOR = "operator";

/**
 * Wraps a database so that transactions of calls with audit details write an audit entry: it is committed together
 * with the change, or not at all.
 */
export function withAuditLog(db: Database, { ids, clock }: { ids: Ids; clock: Clock }): Database {
  return {
    ...db,
    transact<T>(call: Call, work: (tx: Tx) => Promise<T>): Promise<T> {
      const { audit, principal, clientAddress } = call;
      if (audit === undefined) return db.transact(call, work);
      return db.transact(call, async (tx) => {
        const result = await work(tx);
        const actor = principalName(principal) || OPERATOR;
        await tx.query(sql`
          insert into audit_entry (id, actor, role, method, request, client_address, created_at) values (
            ${ids()}, ${actor}, ${audit.role}, ${audit.method}, ${audit.request}, ${clientAddress}, ${clock.now()}
          )`);
        return result;
      });
    },
  };
}
