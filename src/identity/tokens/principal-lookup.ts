import { sql } from "kysely";
import type { Customers } from "../../customer/customer.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import { internalCall } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { notFound } from "../../kernel/errors.ts";
import type { Principal } from "../../kernel/principal.ts";
import { parseRole } from "../accounts/accounts.ts";
import type { AccessTokenClaims } from "./access-tokens.ts";
import { accessTokenInvalid } from "./credential-errors.ts";

/** The owner of a credential. */
export interface CredentialOwner {
  principal: Principal;
  /** Expiry of the credential, in milliseconds since 1970; 0 for a revoked one. */
  validUntilMs: number;
}

/** The owners of credentials, read from the database. */
export interface PrincipalLookup {
  /**
   * Returns the owner of an access token.
   * @throws AppError not_found when the session has ended, unauthenticated when the token names another account than
   *   its session does, or a revoked signing key
   */
  bySession(claims: AccessTokenClaims): Promise<CredentialOwner>;
  /** Returns the owner of an API key, also of one that has ended. @throws AppError not_found when there is no such key */
  byApiKey(hash: Buffer): Promise<CredentialOwner>;
}

interface SessionRow {
  session_id: string;
  account_id: string;
  customer_id: string;
  role: string;
  is_key_valid: boolean;
}

interface ApiKeyRow {
  id: string;
  service_account: string;
  scopes: string[];
  expires_at: string | null;
  is_revoked: boolean;
}

const findSession = prepare<[sessionId: string, now: Date, kid: string], SessionRow>(
  (sessionId, now, kid) => sql`
    select session.id as session_id, account_id, customer_id, role,
      exists (select from signing_key where id = ${kid} and expires_at > ${now}) as is_key_valid
    from session join account on account.id = account_id
    where session.id = ${sessionId} and ended_at is null and session.expires_at > ${now}`,
);
const findApiKey = prepare<[hash: Buffer], ApiKeyRow>(
  (hash) => sql`
    select id, service_account, scopes, expires_at, revoked_at is not null as is_revoked
    from api_key where secret_hash = ${hash}`,
);

/** Expiry of a revoked key: in the past by any clock. */
const REVOKED_MS = 0;

/** Creates the lookup. */
export function createPrincipalLookup(options: {
  db: Database;
  clock: Clock;
  customers: Customers;
}): PrincipalLookup {
  const { db, clock, customers } = options;
  return {
    async bySession({ sessionId, kid, ...claims }) {
      const call = internalCall();
      const [row] = await db.read(call, findSession(sessionId, clock.now(), kid));
      if (row === undefined) throw notFound("session", sessionId);
      // Cached principals are invalidated by the ids in the token, so these must equal the ids in the database. The session
      // id is compared as text, because PostgreSQL accepts UUIDs in upper case too.
      const isConsistent =
        row.session_id === sessionId &&
        row.account_id === claims.accountId &&
        row.customer_id === claims.customerId;
      if (!isConsistent || !row.is_key_valid) throw accessTokenInvalid();
      await customers.get(call, row.customer_id, false);
      const principal: Principal = {
        kind: "account",
        accountId: row.account_id,
        customerId: row.customer_id,
        role: parseRole(row.role),
        sessionId,
      };
      return { principal, validUntilMs: Number.POSITIVE_INFINITY };
    },

    async byApiKey(hash) {
      const [row] = await db.read(internalCall(), findApiKey(hash));
      if (row === undefined) throw notFound("api_key", "with this secret");
      const principal: Principal = {
        kind: "service",
        keyId: row.id,
        serviceAccount: row.service_account,
        scopes: new Set(row.scopes),
      };
      return { principal, validUntilMs: row.is_revoked ? REVOKED_MS : parseExpiry(row.expires_at) };
    },
  };
}

function parseExpiry(expiresAt: string | null): number {
  return expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(expiresAt);
}
