import type { Customers } from "../customer/customer.ts";
import type { InvalidationBus } from "../infra/cache/invalidation-bus.ts";
import type { Database } from "../infra/postgres/postgres.ts";
import { getSharedSecret } from "../infra/postgres/secret/shared-secret.ts";
import { type Call, internalCall } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Ids } from "../kernel/ids.ts";
import type { Log } from "../kernel/log.ts";
import type { Page, PageRequest, PageTokens } from "../kernel/page.ts";
import { type Principal, permissionDenied, type Role, signInRequired } from "../kernel/principal.ts";
import { createAccountAdmin, type NewAccount } from "./accounts/account-admin.ts";
import { type Account, createAccounts } from "./accounts/accounts.ts";
import { createPasswordHasher } from "./accounts/password-hasher.ts";
import { createPasswordSignIn, type NewSession } from "./accounts/password-sign-in.ts";
import { createSignInBackoff } from "./accounts/sign-in-backoff.ts";
import { type ApiKey, type ApiKeyInput, createApiKeys } from "./api-keys/api-keys.ts";
import { createRefreshTokenCodec } from "./sessions/refresh-token-codec.ts";
import { createSessions, type Session } from "./sessions/sessions.ts";
import { createSigningKeys, type PublicJwk } from "./signing-keys/signing-keys.ts";
import { createAccessTokens } from "./tokens/access-tokens.ts";
import { createAuthentication } from "./tokens/authentication.ts";
import { createPrincipalLookup } from "./tokens/principal-lookup.ts";
import { issueTokenPair, type TokenPair } from "./tokens/token-pair.ts";

export { assertCustomerAccess } from "./accounts/customer-access.ts";
export type { Account, ApiKey, ApiKeyInput, NewAccount, PublicJwk, Session, TokenPair };

/** An account with the credentials of its new session. */
export interface SignedIn {
  account: Account;
  tokens: TokenPair;
}

/** Accounts, their sessions, and the API keys of other services. */
export interface Identity {
  /**
   * Creates a customer with an account and a session.
   * @throws AppError already_exists when a customer has the email
   */
  register(call: Call, input: { email: string; name: string; password: string }): Promise<SignedIn>;
  /**
   * Creates a session for an account.
   * @throws AppError unauthenticated for wrong credentials, resource_exhausted after too many failures, unavailable when too
   *   many password checks are queued
   */
  signIn(call: Call, input: { email: string; password: string }): Promise<SignedIn>;
  /**
   * Exchanges a refresh token for the next token pair of its session. Reusing a token revokes the session.
   * @throws AppError unauthenticated for an invalid or reused token and for an ended session
   */
  refresh(call: Call, refreshToken: string): Promise<TokenPair>;
  /** Revokes the session of a refresh token or, when that is empty, the caller's own. Repeating it has no effect. */
  signOut(call: Call, refreshToken: string): Promise<void>;
  /** Lists the caller's active sessions, newest first. */
  listSessions(call: Call, page: PageRequest): Promise<Page<Session>>;
  /** Revokes one of the caller's sessions. @throws AppError not_found when the caller has no such session */
  revokeSession(call: Call, id: string): Promise<void>;
  /** Returns the caller's account. */
  getMe(call: Call): Promise<Account>;
  /**
   * Changes the caller's password and revokes the caller's other sessions.
   * @throws AppError unauthenticated when the current password is wrong
   */
  changePassword(call: Call, input: { currentPassword: string; newPassword: string }): Promise<void>;
  /** Creates an API key and returns it with its secret, which is not stored. */
  createApiKey(call: Call, input: ApiKeyInput): Promise<{ apiKey: ApiKey; secret: string }>;
  /** Lists all API keys, newest first. */
  listApiKeys(call: Call, page: PageRequest): Promise<Page<ApiKey>>;
  /** Revokes an API key. @throws AppError not_found, or failed_precondition when it is already revoked */
  revokeApiKey(call: Call, id: string): Promise<ApiKey>;
  /** Creates an account with a role and without a session. @throws AppError already_exists */
  createAccount(call: Call, input: NewAccount): Promise<Account>;
  /** Returns whether any account exists. */
  hasAccounts(call: Call): Promise<boolean>;
  /** Returns whether the customer with this email has an account. */
  hasAccount(call: Call, email: string): Promise<boolean>;
  /** Changes the role of the account with this email, effective immediately. @throws AppError not_found */
  setRole(call: Call, email: string, role: Role): Promise<Account>;
  /**
   * Returns the principal of an access token or API key; synchronously when it is cached.
   * @param beforeLookup called before the database is queried for an unknown credential; what it throws is rethrown
   * @throws AppError unauthenticated for a credential that is invalid, expired or revoked
   */
  authenticate(credential: string, beforeLookup?: () => void): Principal | Promise<Principal>;
  /** Returns the public keys that verify access tokens, as a JWK set (RFC 7517). */
  jwks(): Promise<{ keys: PublicJwk[] }>;
  /** Deletes expired sessions, sign-in failures and signing keys. */
  purgeExpired(call: Call): Promise<void>;
  /** Stops the rotation of the signing key. */
  close(): Promise<void>;
}

/** Dependencies of identity. */
export interface IdentityOptions {
  /** Must invalidate cache tags when it commits: cached principals depend on them. */
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
  customers: Customers;
  bus: InvalidationBus;
  /** Path of the signing key file, from SIGNING_KEYS_FILE. */
  signingKeysFile: string;
  /** Issuer and audience of access tokens, from TOKEN_ISSUER. */
  tokenIssuer: string;
  log: Log;
}

/**
 * Creates identity.
 * @throws StartupError for an invalid key file
 */
export async function createIdentity(options: IdentityOptions): Promise<Identity> {
  const { db, ids, clock, tokens, customers, bus, log } = options;
  const refreshTokens = createRefreshTokenCodec(await getSharedSecret(db, internalCall(), "refresh-token"));
  const keys = await createSigningKeys({ db, clock, file: options.signingKeysFile, log });
  const accessTokens = createAccessTokens({ keys, ids, clock, issuer: options.tokenIssuer });
  const passwordHasher = createPasswordHasher();
  const backoff = createSignInBackoff({ db, clock });
  const accounts = createAccounts({ db, ids, clock, customers });
  const sessions = createSessions({ db, ids, clock, tokens, refreshTokens });
  const apiKeys = createApiKeys({ db, ids, clock, tokens });
  const admin = createAccountAdmin({ db, accounts, customers, passwordHasher, sessions });
  const signIn = createPasswordSignIn({ db, accounts, customers, sessions, passwordHasher, backoff });
  const lookup = createPrincipalLookup({ db, clock, customers });
  const { authenticate } = createAuthentication({ clock, bus, accessTokens, lookup });

  async function withTokens({ account, grant }: NewSession): Promise<SignedIn> {
    return { account, tokens: await issueTokenPair(accessTokens, account, grant) };
  }

  return {
    register: async (call, input) => withTokens(await signIn.register(call, input)),
    signIn: async (call, input) => withTokens(await signIn.signIn(call, input)),
    async refresh(call, refreshToken) {
      const { subject, grant } = await sessions.rotate(call, refreshToken, accounts.getTokenSubject);
      return issueTokenPair(accessTokens, subject, grant);
    },
    async signOut(call, refreshToken) {
      await (refreshToken === ""
        ? sessions.revoke(call, requireAccount(call.principal).sessionId)
        : sessions.revokeByRefreshToken(call, refreshToken));
    },
    listSessions: async (call, page) => sessions.list(call, requireAccount(call.principal), page),
    revokeSession: async (call, id) =>
      sessions.revokeOwned(call, requireAccount(call.principal).accountId, id),
    getMe: async (call) => accounts.get(call, requireAccount(call.principal).accountId),
    changePassword: async (call, input) => signIn.changePassword(call, requireAccount(call.principal), input),
    createApiKey: apiKeys.create,
    listApiKeys: apiKeys.list,
    revokeApiKey: apiKeys.revoke,
    createAccount: admin.createAccount,
    hasAccounts: accounts.hasAny,
    hasAccount: async (call, email) => (await accounts.findCredentials(call, email)) !== undefined,
    setRole: accounts.setRole,
    authenticate,
    jwks: keys.jwks,
    async purgeExpired(call) {
      await backoff.purgeExpired(call);
      await sessions.purgeExpired(call);
      await keys.purgeExpired(call);
    },
    close: keys.close,
  };
}

/** Returns the caller's account and session. @throws AppError unauthenticated or permission_denied */
function requireAccount(principal: Principal): Extract<Principal, { kind: "account" }> {
  if (principal.kind === "account") return principal;
  if (principal.kind === "anonymous") throw signInRequired();
  throw permissionDenied(
    "This method needs a signed-in account. It does not accept API keys and is unavailable while ACCESS is off.",
    "PEOPLE_ONLY",
  );
}
