import { randomBytes } from "node:crypto";
import { sql } from "kysely";
import type { Call } from "../../../kernel/call.ts";
import type { Database } from "../postgres.ts";
import { prepareDynamic } from "../statement.ts";

const SECRET_BYTES = 32;

/** A key that all replicas share. */
export interface SharedSecret {
  name: string;
  value: Buffer;
}

/** Returns the keys whose names have a prefix. */
export async function listSharedSecrets(db: Database, call: Call, prefix: string): Promise<SharedSecret[]> {
  const secrets = sql<SharedSecret>`select name, value from secret where starts_with(name, ${prefix}) order by name`;
  return db.read(call, prepareDynamic(secrets));
}

/** Returns a random key of 32 bytes that all replicas share. The first call creates it. */
export async function getSharedSecret(db: Database, call: Call, name: string): Promise<Buffer> {
  return db.transact(call, async (tx) => {
    await tx.query(sql`
      insert into secret (name, value) values (${name}, ${randomBytes(SECRET_BYTES)}) on conflict do nothing`);
    const [row] = await tx.query(sql<{ value: Buffer }>`select value from secret where name = ${name}`);
    if (row === undefined) throw new Error(`secret ${name} is missing right after its insert`);
    return row.value;
  });
}
