import { randomBytes } from "node:crypto";
import { sql } from "kysely";
import type { Call } from "../../kernel/call.ts";
import type { Database } from "./postgres.ts";

/** A key of 32 random bytes, made once for all replicas and kept in the database. */
export async function getSharedSecret(db: Database, call: Call, name: string): Promise<Buffer> {
  return db.transact(call, async (tx) => {
    await tx.query(
      sql`insert into secret (name, value) values (${name}, ${randomBytes(32)}) on conflict do nothing`,
    );
    const [row] = await tx.query(sql<{ value: Buffer }>`select value from secret where name = ${name}`);
    if (row === undefined) throw new Error(`secret ${name} is missing although it was just written`);
    return row.value;
  });
}
