import { sql } from "kysely";
import { z } from "zod";
import type { Database } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import { type Call, internalCall } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { DAY_MS } from "../../kernel/durations.ts";

/** The public half of a signing key as a JWK (RFC 8037), in the form that /.well-known/jwks.json publishes. */
export interface PublicJwk {
  kty: "OKP";
  crv: "Ed25519";
  x: string;
  kid: string;
  alg: "EdDSA";
  use: "sig";
}

/** The stored public keys of all instances. */
export interface JwksStore {
  /** Lists the valid keys, newest first. */
  list(): Promise<PublicJwk[]>;
  /**
   * Publishes a key: it is valid in all instances for 40 days after its last publication.
   * @returns false when the key is revoked; it then stays invalid
   */
  publish(key: Pick<PublicJwk, "kty" | "crv" | "x" | "kid">): Promise<boolean>;
  /**
   * Revokes a key permanently, and with it all access tokens that it has signed.
   * @returns whether the key was valid
   */
  revoke(call: Call, kid: string): Promise<boolean>;
  /** Deletes expired keys, but not the records of revocation. */
  purgeExpired(call: Call): Promise<void>;
}

/** Validity of a key after its last publication, in milliseconds. */
const VALIDITY_MS = 40 * DAY_MS;
/** `expires_at` of revoked keys. Their rows stay, without the key, so that no instance can publish them again. */
const REVOKED = new Date(0);

const jwkSchema = z.object({
  kty: z.literal("OKP"),
  crv: z.literal("Ed25519"),
  x: z.string(),
  kid: z.string(),
  alg: z.literal("EdDSA"),
  use: z.literal("sig"),
});
const findValid = prepare<[now: Date], { public_key: unknown }>(
  (now) => sql`select public_key from signing_key where expires_at > ${now} order by created_at desc, id`,
);

/** Returns the cache tag of what depends on a signing key. Tags are compared in lower case. */
export const signingKeyTag = (kid: string): string => `signing-key:${kid.toLowerCase()}`;

/**
 * Creates the store.
 * @param options.db must invalidate cache tags, by which the cached principals of a revoked key are dropped
 */
export function createJwksStore({ db, clock }: { db: Database; clock: Clock }): JwksStore {
  return {
    async list() {
      const rows = await db.read(internalCall(), findValid(clock.now()));
      return rows.map((row) => jwkSchema.parse(row.public_key));
    },

    async publish({ kty, crv, x, kid }) {
      const now = clock.now();
      const expiresAt = new Date(now.getTime() + VALIDITY_MS);
      const jwk: PublicJwk = { kty, crv, x, kid, alg: "EdDSA", use: "sig" };
      const rows = await db.transact(internalCall(), (tx) =>
        tx.query(sql`
          insert into signing_key as k (id, public_key, created_at, expires_at)
          values (${kid}, ${JSON.stringify(jwk)}::jsonb, ${now}, ${expiresAt})
          on conflict (id) do update set expires_at = greatest(k.expires_at, excluded.expires_at)
            where k.expires_at > ${REVOKED}
          returning 1 as one`),
      );
      return rows.length > 0;
    },

    revoke(call, kid) {
      return db.transact(call, async (tx) => {
        const now = clock.now();
        const valid = await tx.query(sql`
          select from signing_key where id = ${kid} and expires_at > ${now} for update`);
        await tx.query(sql`
          insert into signing_key (id, public_key, created_at, expires_at)
          values (${kid}, 'null'::jsonb, ${now}, ${REVOKED})
          on conflict (id) do update set public_key = excluded.public_key, expires_at = excluded.expires_at`);
        tx.invalidate(signingKeyTag(kid));
        return valid.length > 0;
      });
    },

    async purgeExpired(call) {
      await db.transact(call, (tx) =>
        tx.query(sql`delete from signing_key where expires_at < ${clock.now()} and expires_at > ${REVOKED}`),
      );
    },
  };
}
