import { sql } from "kysely";
import { z } from "zod";
import { type Database, prepared } from "../../infra/postgres/postgres.ts";
import { type Call, internalCall } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";

/** The public half of a key, as /.well-known/jwks.json shows it. */
export interface PublicKey {
  kty: "OKP";
  crv: "Ed25519";
  x: string;
  kid: string;
  alg: "EdDSA";
  use: "sig";
}

/** How long a key is honoured after it was last published, milliseconds. */
const PUBLISHED_MS = 40 * 24 * 3_600_000;
/** When those end that are revoked. Their rows stay without a key, so that nobody publishes it again. */
const ENDED = new Date(0);

const publicSchema = z.object({
  ...{ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string(), kid: z.string() },
  ...{ alg: z.literal("EdDSA"), use: z.literal("sig") },
});
const ALL = prepared("select public_key from signing_key where expires_at > $1 order by created_at desc, id");

/** What answers about tokens that are signed by a key are made of. Tags are kept in lower case. */
export const signingKeyTag = (kid: string): string => `signing-key:${kid.toLowerCase()}`;

/** The rows of the keys by which the instances sign. Its database must announce what is changed. */
export function createJwksStore({ db, clock }: { db: Database; clock: Clock }) {
  return {
    /** Those that are honoured, newest first. */
    async all(): Promise<PublicKey[]> {
      const rows = await db.read<{ public_key: unknown }>(internalCall(), ALL, [clock.now()]);
      return rows.map((row) => publicSchema.parse(row.public_key));
    },

    /** From now on all instances honour it. @returns false when it is revoked, and stays that */
    async publish({ kty, crv, x, kid }: Pick<PublicKey, "kty" | "crv" | "x" | "kid">): Promise<boolean> {
      const now = clock.now();
      const expiresAt = new Date(now.getTime() + PUBLISHED_MS);
      const shown: PublicKey = { kty, crv, x, kid, alg: "EdDSA", use: "sig" };
      const rows = await db.transact(internalCall(), (tx) =>
        tx.query(sql`
          insert into signing_key as k (id, public_key, created_at, expires_at)
          values (${kid}, ${JSON.stringify(shown)}::jsonb, ${now}, ${expiresAt})
          on conflict (id) do update set expires_at = greatest(k.expires_at, excluded.expires_at)
            where k.expires_at > ${ENDED}
          returning 1 as one`),
      );
      return rows.length > 0;
    },

    /** Takes a key out of use for ever, and all tokens that are signed by it. @returns whether it was in use */
    revoke(call: Call, kid: string): Promise<boolean> {
      return db.transact(call, async (tx) => {
        const now = clock.now();
        const live = await tx.query(sql`
          select from signing_key where id = ${kid} and expires_at > ${now} for update`);
        await tx.query(sql`
          insert into signing_key (id, public_key, created_at, expires_at)
          values (${kid}, 'null'::jsonb, ${now}, ${ENDED})
          on conflict (id) do update set public_key = excluded.public_key, expires_at = excluded.expires_at`);
        tx.invalidate(signingKeyTag(kid));
        return live.length > 0;
      });
    },

    /** Deletes those that are over, but not what says that one is revoked. */
    async purgeExpired(call: Call): Promise<void> {
      await db.transact(call, (tx) =>
        tx.query(sql`delete from signing_key where expires_at < ${clock.now()} and expires_at > ${ENDED}`),
      );
    },
  };
}
