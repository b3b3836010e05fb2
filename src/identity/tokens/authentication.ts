import { LRUCache } from "lru-cache";
import type { Customers } from "../../customer/customer.ts";
import { Cache, type CacheRequest, type CacheResult } from "../../infra/cache/cache.ts";
import type { InvalidationBus } from "../../infra/cache/invalidation-bus.ts";
import { type Database, prepared } from "../../infra/postgres/postgres.ts";
import { internalCall } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import {
  API_KEY_ENDED,
  malformedAuthorization,
  type Principal,
  SESSION_ENDED,
} from "../../kernel/principal.ts";
import { accountTag, roleOf } from "../accounts/accounts.ts";
import { apiKeyTag, KEY_PREFIX } from "../api-keys/api-keys.ts";
import { sessionTag } from "../sessions/sessions.ts";
import { signingKeyTag } from "../signing-keys/jwks-store.ts";
import { type AccessTokens, type Claims, expiredToken, invalidToken } from "./access-tokens.ts";
import { hashSecret } from "./secret-hash.ts";

/** Who somebody is, and until when, milliseconds since 1970. */
interface Known {
  principal: Principal;
  untilMs: number;
}

interface SessionRow {
  session_id: string;
  account_id: string;
  customer_id: string;
  role: string;
  key_is_good: boolean;
}

/** A credential that was looked at before: until when it is good by itself, and how to ask who has it. */
interface Verified {
  expiresAtMs: number;
  wanted: CacheRequest<Known>;
  /** What is said of one that nobody has, and of one that was somebody's. */
  unknown(): AppError;
  ended(): AppError;
}

const SESSION = prepared(`
  select session.id as session_id, account_id, customer_id, role,
    exists (select from signing_key where id = $3 and expires_at > $2) as key_is_good
  from session join account on account.id = account_id
  where session.id = $1 and ended_at is null and session.expires_at > $2`);
const API_KEY = prepared(`
  select id, service_account, scopes, expires_at, revoked_at is not null as is_revoked
  from api_key where secret_hash = $1`);

/** How many credentials are remembered as verified. */
const MAX_VERIFIED = 10_000;
/** How much memory may be taken for who has them. */
const MAX_BYTES = 64 * 2 ** 20;
/** How long that is good unless it is dropped by its tags, milliseconds. */
const FRESH_MS = 600_000;
/** Until when those were good that have been revoked, milliseconds: however late the clock of who asks. */
const NEVER_MS = 0;
/** What all credentials look like (RFC 6750, 2.1). */
const CREDENTIAL = /^[\w.~+/=-]{1,4096}$/;
/** What secrets look like. Others are not asked for. */
const SECRET = /^ck_[\w-]{43}$/;

export interface AuthenticationOptions {
  db: Database;
  clock: Clock;
  customers: Customers;
  bus: InvalidationBus;
  accessTokens: AccessTokens;
}

/**
 * Tells who shows an access token or an API key: at once when it was asked before and nothing has changed, without a
 * promise. Signatures are verified once; what has ended, and who may do what, is the database's word, which is kept
 * like other answers, and dropped by its tags at once in all instances. It is kept in memory alone: whoever can write to
 * Redis is not believed about who somebody is.
 */
export function createAuthentication({ db, clock, customers, bus, accessTokens }: AuthenticationOptions) {
  const verified = new LRUCache<string, Verified>({ max: MAX_VERIFIED });
  const cache = new Cache<Known>({ bus, maxBytes: MAX_BYTES });

  async function loadSession({ sessionId, kid, ...claimed }: Claims): Promise<Known> {
    const call = internalCall();
    const values = [sessionId, clock.now(), kid];
    const [row] = await db.read<SessionRow>(call, SESSION, values);
    if (row === undefined) throw notFound("session", sessionId);
    const { account_id: accountId, customer_id: customerId } = row;
    // What is kept is dropped by the tags of whom the token names: it may be nobody else.
    const isTheirs = accountId === claimed.accountId && customerId === claimed.customerId;
    if (row.session_id !== sessionId || !isTheirs || !row.key_is_good) throw invalidToken();
    await customers.get(call, customerId, false);
    const principal = { kind: "account", accountId, customerId, role: roleOf(row.role), sessionId } as const;
    return { principal, untilMs: Number.POSITIVE_INFINITY };
  }

  async function loadApiKey(hash: Buffer): Promise<Known> {
    const [row] = await db.read<{
      id: string;
      service_account: string;
      scopes: string[];
      expires_at: string | null;
      is_revoked: boolean;
    }>(internalCall(), API_KEY, [hash]);
    if (row === undefined) throw notFound("api_key", "with this secret");
    const { id: keyId, service_account: serviceAccount, expires_at: end } = row;
    const principal = { kind: "service", keyId, serviceAccount, scopes: new Set(row.scopes) } as const;
    if (row.is_revoked) return { principal, untilMs: NEVER_MS };
    return { principal, untilMs: end === null ? Number.POSITIVE_INFINITY : Date.parse(end) };
  }

  function ofToken(token: string, claims: Claims): Verified {
    const { sessionId, accountId, customerId, kid, expiresAtMs } = claims;
    const owner = [accountTag(accountId), `customer:${customerId}`];
    const tags = [sessionTag(sessionId), ...owner, signingKeyTag(kid)];
    // By the token, not the session: what another one says of the same session is not believed of this one.
    const key = `identity/token/${hashSecret(token).toString("hex")}`;
    const wanted = wantedOf(key, tags, () => loadSession(claims));
    // It is signed by us: there was such a session.
    return { expiresAtMs, wanted, unknown: sessionEnded, ended: sessionEnded };
  }

  function ofApiKey(secret: string): Verified {
    const hash = hashSecret(secret);
    const wanted = wantedOf(`identity/api-key/${hash.toString("hex")}`, [apiKeyTag(hash)], () =>
      loadApiKey(hash),
    );
    return { expiresAtMs: Number.POSITIVE_INFINITY, wanted, unknown: apiKeyInvalid, ended: apiKeyEnded };
  }

  function principalOf(
    { unknown, ended }: Verified,
    { entry: { outcome } }: CacheResult<Known>,
    nowMs = clock.now().getTime(),
  ): Principal {
    if ("error" in outcome) throw unknown();
    if (nowMs >= outcome.value.untilMs) throw ended();
    return outcome.value.principal;
  }

  function ask(credential: Verified): Principal | Promise<Principal> {
    const nowMs = clock.now().getTime();
    if (nowMs >= credential.expiresAtMs) throw expiredToken();
    const found = cache.getOrLoad(credential.wanted);
    return found instanceof Promise
      ? found.then((it) => principalOf(credential, it))
      : principalOf(credential, found, nowMs);
  }

  function askForToken(token: string, claims: Claims): Principal | Promise<Principal> {
    const known = ofToken(token, claims);
    verified.set(token, known);
    return ask(known);
  }

  function askForApiKey(secret: string): Principal | Promise<Principal> {
    const known = ofApiKey(secret);
    const told = (found: CacheResult<Known>): Principal => {
      // Only those that exist are remembered, though they have ended: made-up ones drive out nothing.
      if (!("error" in found.entry.outcome)) verified.set(secret, known);
      return principalOf(known, found);
    };
    const found = cache.getOrLoad(known.wanted);
    return found instanceof Promise ? found.then(told) : told(found);
  }

  return {
    /**
     * Who shows this credential.
     * @param beforeAsking called before the database is asked for what is not known and may be made up: an API key, or
     *   the key that a token says it is signed by. What it throws is thrown
     * @throws UNAUTHENTICATED for what is not good, or no longer
     */
    authenticate(credential: string, beforeAsking?: () => void): Principal | Promise<Principal> {
      const known = verified.get(credential);
      if (known !== undefined) return ask(known);
      if (!CREDENTIAL.test(credential)) throw malformedAuthorization();
      if (SECRET.test(credential)) {
        beforeAsking?.();
        return askForApiKey(credential);
      }
      if (credential.startsWith(KEY_PREFIX)) throw apiKeyInvalid();
      return accessTokens.verify(credential, beforeAsking).then((claims) => askForToken(credential, claims));
    },
  };
}

function wantedOf(key: string, tags: readonly string[], load: () => Promise<Known>): CacheRequest<Known> {
  return { key, tags, freshMs: FRESH_MS, staleMs: 0, load, encode };
}

/** As large as it is in memory, more or less: nobody reads it. */
function encode({ principal }: Known): Uint8Array {
  return Buffer.from(JSON.stringify(principal));
}

function sessionEnded(): AppError {
  return new AppError("unauthenticated", "The session of this access token has ended. Sign in again.", {
    reason: SESSION_ENDED,
  });
}

function apiKeyInvalid(): AppError {
  return new AppError(
    "unauthenticated",
    "This API key is not one of ours. Send it as it was made, or ask an admin for one.",
    { reason: "API_KEY_INVALID" },
  );
}

function apiKeyEnded(): AppError {
  return new AppError(
    "unauthenticated",
    "This API key was revoked or has expired. Ask an admin for a new one.",
    { reason: API_KEY_ENDED },
  );
}
