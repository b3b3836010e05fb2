import { sql } from "kysely";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import type { Ids } from "../../kernel/ids.ts";
import { principalName } from "../../kernel/principal.ts";
import type { Database, Tx } from "../postgres/postgres.ts";

/** Who is at the machine itself. */
const OPERATOR = "operator";

/**
 * A database whose transactions write down who made them and what for, where the call asks for it: the change and
 * its note are committed together, or neither is.
 */
export function withAuditLog(db: Database, { ids, clock }: { ids: Ids; clock: Clock }): Database {
  return {
    ...db,
    transact<T>(call: Call, work: (tx: Tx) => Promise<T>): Promise<T> {
      const { audit, principal, clientAddress } = call;
      if (audit === undefined) return db.transact(call, work);
      const { role, method, request } = audit;
      return db.transact(call, async (tx) => {
        const result = await work(tx);
        await tx.query(sql`
          insert into audit_entry (id, actor, role, method, request, client_address, created_at)
          values (${ids()}, ${principalName(principal) || OPERATOR}, ${role}, ${method}, ${request}, ${clientAddress}, ${clock.now()})`);
        return result;
      });
    },
  };
}
