import { LRUCache } from "lru-cache";
import { customerTag } from "../../customer/customer.ts";
import { Cache, type CacheRequest, type CacheResult } from "../../infra/cache/cache.ts";
import type { InvalidationBus } from "../../infra/cache/invalidation-bus.ts";
import type { Clock } from "../../kernel/clock.ts";
import type { AppError } from "../../kernel/errors.ts";
import { malformedAuthorization, type Principal } from "../../kernel/principal.ts";
import { accountTag } from "../accounts/accounts.ts";
import { API_KEY_PREFIX, apiKeyTag } from "../api-keys/api-keys.ts";
import { sessionTag } from "../sessions/session-revocation.ts";
import { signingKeyTag } from "../signing-keys/jwks-store.ts";
import type { AccessTokenClaims, AccessTokens } from "./access-tokens.ts";
import { accessTokenExpired, apiKeyEnded, apiKeyInvalid, sessionEnded } from "./credential-errors.ts";
import type { CredentialOwner, PrincipalLookup } from "./principal-lookup.ts";
import { hashSecret } from "./secret-hash.ts";

/** The authentication of callers by their credentials. */
export interface Authentication {
  /**
   * Returns the principal of an access token or API key; synchronously when it is cached.
   * @param beforeLookup called before the database is queried for an unknown credential, which may be guessed: an API
   *   key, or the signing key of an access token. What it throws is rethrown
   * @throws AppError unauthenticated for a credential that is invalid, expired or revoked
   */
  authenticate(credential: string, beforeLookup?: () => void): Principal | Promise<Principal>;
}

/** Dependencies of the authentication. */
export interface AuthenticationOptions {
  clock: Clock;
  bus: InvalidationBus;
  accessTokens: AccessTokens;
  lookup: PrincipalLookup;
}

/** A credential whose form and signature are verified. */
interface VerifiedCredential {
  /** Its expiry, in milliseconds since 1970. Infinity for API keys, whose expiry the lookup returns. */
  expiresAtMs: number;
  /** The cached lookup of its owner. */
  request: CacheRequest<CredentialOwner>;
  /** Returns the error for a credential without an owner. */
  createAbsentError(): AppError;
  /** Returns the error for a credential that was valid in the past. */
  createEndedError(): AppError;
}

/** Maximum number of cached verified credentials. */
const MAX_VERIFIED = 10_000;
/** Maximum memory for the owners of credentials, in bytes. */
const MAX_BYTES = 64 * 2 ** 20;
/** Time for which an owner is cached unless it is invalidated, in milliseconds. */
const FRESH_MS = 600_000;
/** The form of every credential: `b64token` of RFC 6750, 2.1. */
const CREDENTIAL = /^[\w.~+/=-]{1,4096}$/;
/** The form of an API key. Other strings with its prefix are rejected without a lookup. */
const API_KEY = /^ck_[\w-]{43}$/;

/**
 * Creates the authentication. A signature is verified once. Revocation, role and scopes are read from the database and
 * cached with tags, so that a change takes effect in all instances immediately. The cache is in memory only: write access
 * to Redis must not let a caller impersonate an account.
 */
export function createAuthentication(options: AuthenticationOptions): Authentication {
  const { clock, bus, accessTokens, lookup } = options;
  const verified = new LRUCache<string, VerifiedCredential>({ max: MAX_VERIFIED });
  const owners = new Cache<CredentialOwner>({ bus, maxBytes: MAX_BYTES });

  function verifiedToken(token: string, claims: AccessTokenClaims): VerifiedCredential {
    const { sessionId, accountId, customerId, kid, expiresAtMs } = claims;
    const tags = [sessionTag(sessionId), accountTag(accountId), customerTag(customerId), signingKeyTag(kid)];
    // Keyed by the token, not the session: another token of the session may carry other claims.
    const key = `identity/token/${hashSecret(token).toString("hex")}`;
    const request = cacheRequest(key, tags, () => lookup.bySession(claims));
    // The signature is valid, so the session did exist.
    return { expiresAtMs, request, createAbsentError: sessionEnded, createEndedError: sessionEnded };
  }

  function verifiedApiKey(secret: string): VerifiedCredential {
    const hash = hashSecret(secret);
    const key = `identity/api-key/${hash.toString("hex")}`;
    const request = cacheRequest(key, [apiKeyTag(hash)], () => lookup.byApiKey(hash));
    return {
      expiresAtMs: Number.POSITIVE_INFINITY,
      request,
      createAbsentError: apiKeyInvalid,
      createEndedError: apiKeyEnded,
    };
  }

  /** Returns the principal that a lookup has found. @throws AppError unauthenticated */
  function readPrincipal(credential: VerifiedCredential, { entry }: CacheResult<CredentialOwner>): Principal {
    const { outcome } = entry;
    if ("error" in outcome) throw credential.createAbsentError();
    if (clock.now().getTime() >= outcome.value.validUntilMs) throw credential.createEndedError();
    return outcome.value.principal;
  }

  function findPrincipal(credential: VerifiedCredential): Principal | Promise<Principal> {
    if (clock.now().getTime() >= credential.expiresAtMs) throw accessTokenExpired();
    const found = owners.getOrLoad(credential.request);
    return found instanceof Promise
      ? found.then((result) => readPrincipal(credential, result))
      : readPrincipal(credential, found);
  }

  async function authenticateToken(token: string, beforeLookup?: () => void): Promise<Principal> {
    const claims = await accessTokens.verify(token, beforeLookup);
    const credential = verifiedToken(token, claims);
    verified.set(token, credential);
    return findPrincipal(credential);
  }

  async function authenticateApiKey(secret: string): Promise<Principal> {
    const credential = verifiedApiKey(secret);
    const result = await owners.getOrLoad(credential.request);
    // Unknown keys are not cached as verified, so that they cannot evict keys that exist.
    if (!("error" in result.entry.outcome)) verified.set(secret, credential);
    return readPrincipal(credential, result);
  }

  return {
    authenticate(credential, beforeLookup) {
      const cached = verified.get(credential);
      if (cached !== undefined) return findPrincipal(cached);
      if (!CREDENTIAL.test(credential)) throw malformedAuthorization();
      if (!credential.startsWith(API_KEY_PREFIX)) return authenticateToken(credential, beforeLookup);
      if (!API_KEY.test(credential)) throw apiKeyInvalid();
      beforeLookup?.();
      return authenticateApiKey(credential);
    },
  };
}

function cacheRequest(
  key: string,
  tags: readonly string[],
  load: () => Promise<CredentialOwner>,
): CacheRequest<CredentialOwner> {
  return { key, tags, freshMs: FRESH_MS, staleMs: 0, load, encode: encodeOwner };
}

/** Encodes an owner only to measure its size: the bytes are never read. */
function encodeOwner({ principal }: CredentialOwner): Uint8Array {
  return Buffer.from(JSON.stringify(principal));
}
