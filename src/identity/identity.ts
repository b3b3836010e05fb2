import { assertVisibleName, type Customers } from "../customer/customer.ts";
import type { InvalidationBus } from "../infra/cache/invalidation-bus.ts";
import type { Database } from "../infra/postgres/postgres.ts";
import { getSharedSecret } from "../infra/postgres/shared-secret.ts";
import { type Call, internalCall } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { AppError } from "../kernel/errors.ts";
import type { Ids } from "../kernel/ids.ts";
import type { Log } from "../kernel/log.ts";
import type { Page, PageRequest, PageTokens } from "../kernel/page.ts";
import { type Principal, permissionDenied, signInRequired } from "../kernel/principal.ts";
import { createAccountAdmin } from "./accounts/account-admin.ts";
import { type Account, createAccounts, type Holder } from "./accounts/accounts.ts";
import { createPasswordHasher } from "./accounts/password-hasher.ts";
import { type Attempt, createSignInBackoff } from "./accounts/sign-in-backoff.ts";
import { type ApiKey, type ApiKeyInput, createApiKeys } from "./api-keys/api-keys.ts";
import { createRefreshTokenCodec } from "./sessions/refresh-token-codec.ts";
import { createSessions, type Grant, type Session } from "./sessions/sessions.ts";
import { createSigningKeys, type PublicKey } from "./signing-keys/signing-keys.ts";
import { createAccessTokens } from "./tokens/access-tokens.ts";
import { createAuthentication } from "./tokens/authentication.ts";

export { assertMayChange } from "./accounts/customer-access.ts";
export type { Account, ApiKey, ApiKeyInput, PublicKey, Session };

/** What a caller shows from now on. */
export interface Tokens {
  accessToken: string;
  accessTokenExpireTime: Date;
  refreshToken: string;
  refreshTokenExpireTime: Date;
}

/** An account and its new session. */
export interface SignedIn {
  account: Account;
  tokens: Tokens;
}

/** What identity is made of. */
export interface IdentityOptions {
  /** Its transactions must announce what they change: sessions that end are known by their tags. */
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
  customers: Customers;
  bus: InvalidationBus;
  /** As in the configuration. */
  signingKeysFile: string;
  tokenIssuer: string;
  log: Log;
}

/**
 * Who calls: accounts, their sessions and the keys of other services.
 * @throws StartError when the file of the signing keys is not as it must be
 */
export async function createIdentity(options: IdentityOptions) {
  const { db, ids, clock, customers, log } = options;
  const seal = await getSharedSecret(db, internalCall(), "refresh-token");
  const keys = await createSigningKeys({ db, clock, file: options.signingKeysFile, log });
  const accessTokens = createAccessTokens({ keys, ids, clock, issuer: options.tokenIssuer });
  const passwords = createPasswordHasher();
  const backoff = createSignInBackoff({ db, clock });
  const accounts = createAccounts({ ...options });
  const sessions = createSessions({ ...options, refreshTokens: createRefreshTokenCodec(seal) });
  const apiKeys = createApiKeys({ ...options });
  const operator = createAccountAdmin({ db, accounts, customers, passwords, sessions });
  const authentication = createAuthentication({ ...options, accessTokens });

  async function tokensOf(holder: Holder, grant: Grant): Promise<Tokens> {
    const access = await accessTokens.sign(holder, grant.sessionId);
    return {
      accessToken: access.token,
      accessTokenExpireTime: access.expireTime,
      refreshToken: grant.token,
      refreshTokenExpireTime: grant.expireTime,
    };
  }

  /** Whether the password is right. It takes the same time for accounts that do not exist. */
  async function check(
    call: Call,
    hash: string | undefined,
    password: string,
    attempt: Attempt,
  ): Promise<boolean> {
    try {
      return await passwords.verify(hash, password, call.signal);
    } catch (error) {
      // Nothing was guessed.
      if (error instanceof AppError) await backoff.giveBack(attempt);
      throw error;
    }
  }

  return {
    /** A new customer with an account that is signed in. ALREADY_EXISTS when a customer has the email. */
    async register(call: Call, input: { email: string; name: string; password: string }): Promise<SignedIn> {
      const { email, name, password } = input;
      assertVisibleName("name", name);
      const passwordHash = await passwords.hash(password, call.signal);
      const { account, grant } = await db.transact(call, async (tx) => {
        const customer = await customers.add(tx, { email, name });
        const account = await accounts.add(tx, customer, { role: "CUSTOMER", passwordHash });
        return { account, grant: await sessions.begin(tx, call, account.id) };
      });
      return { account, tokens: await tokensOf(account, grant) };
    },

    /**
     * Begins a session.
     * @throws UNAUTHENTICATED when email and password do not belong together; RESOURCE_EXHAUSTED after several
     *   of these; UNAVAILABLE when too many passwords wait to be checked
     */
    async signIn(call: Call, { email, password }: { email: string; password: string }): Promise<SignedIn> {
      const found = await accounts.byEmail(call, email);
      const place = await sessions.knownNetwork(call, found?.account.id);
      const attempt = await backoff.reserve(call, email, place);
      const isRight = await check(call, found?.passwordHash, password, attempt);
      if (found === undefined || !isRight) throw wrongCredentials();
      const { account, passwordHash } = found;
      const newHash = passwords.needsRehash(passwordHash)
        ? // It can be done another time.
          await passwords.hash(password, call.signal).catch(() => undefined)
        : undefined;
      const grant = await db.transact(call, async (tx) => {
        await accounts.assertPassword(tx, account.id, passwordHash);
        await backoff.forgive(tx, attempt);
        if (newHash !== undefined) await accounts.setPassword(tx, account.id, newHash);
        return sessions.begin(tx, call, account.id);
      });
      return { account, tokens: await tokensOf(account, grant) };
    },

    /** The next tokens of a session. UNAUTHENTICATED for a token that is spent, which also ends its session. */
    async refresh(call: Call, refreshToken: string): Promise<Tokens> {
      const { holder, grant } = await sessions.rotate(call, refreshToken, accounts.holder);
      return tokensOf(holder, grant);
    },

    /** Ends the session of the refresh token or, when that is empty, of the caller. Done again it does nothing. */
    async signOut(call: Call, refreshToken: string): Promise<void> {
      await (refreshToken === ""
        ? sessions.end(call, person(call.principal).sessionId)
        : sessions.endByToken(call, refreshToken));
    },

    /** The caller's sessions that go on, newest first. */
    listSessions(call: Call, page: PageRequest): Promise<Page<Session>> {
      return sessions.list(call, person(call.principal), page);
    },

    /** Ends a session of the caller's. NOT_FOUND when there is none. */
    async revokeSession(call: Call, id: string): Promise<void> {
      await sessions.revoke(call, person(call.principal).accountId, id);
    },

    /** The caller's account. */
    getMe(call: Call): Promise<Account> {
      return accounts.get(call, person(call.principal).accountId);
    },

    /** Changes the caller's password and ends their other sessions. UNAUTHENTICATED when the current one is wrong. */
    async changePassword(call: Call, input: { currentPassword: string; newPassword: string }): Promise<void> {
      const { accountId, sessionId } = person(call.principal);
      const { account, passwordHash } = await accounts.find(call, accountId);
      // Strangers who try to sign in keep nobody from changing it.
      const attempt = await backoff.reserve(call, account.email, "session");
      if (!(await check(call, passwordHash, input.currentPassword, attempt))) throw wrongPassword();
      const newHash = await passwords.hash(input.newPassword, call.signal);
      await db.transact(call, async (tx) => {
        await accounts.assertPassword(tx, accountId, passwordHash);
        await backoff.forgive(tx, attempt);
        await accounts.setPassword(tx, accountId, newHash);
        await sessions.endOthers(tx, accountId, sessionId);
      });
    },

    /** A new key of another service. Its secret is not kept. */
    createApiKey(call: Call, input: ApiKeyInput): Promise<{ apiKey: ApiKey; secret: string }> {
      return apiKeys.create(call, input);
    },

    /** All keys, newest first. */
    listApiKeys(call: Call, page: PageRequest): Promise<Page<ApiKey>> {
      return apiKeys.list(call, page);
    },

    /** Ends a key. NOT_FOUND when there is none, FAILED_PRECONDITION when it was revoked before. */
    revokeApiKey(call: Call, id: string): Promise<ApiKey> {
      return apiKeys.revoke(call, id);
    },

    /** For the operator: an account with a role, without a session. */
    createUser: operator.createUser,

    /** Whether anybody can sign in. */
    hasAccounts: (call: Call): Promise<boolean> => accounts.areThere(call),

    /** For the operator: gives an account another role, at once. NOT_FOUND when nobody with this email has one. */
    setRole: accounts.setRole,

    /** Who shows this access token or API key. @throws UNAUTHENTICATED */
    authenticate: authentication.authenticate,

    /** The public keys that access tokens are signed by, as a JWK set (RFC 7517). */
    jwks: (): Promise<{ keys: PublicKey[] }> => keys.jwks(),

    /** Deletes what is of no use any more. */
    async purgeExpired(call: Call): Promise<void> {
      await backoff.purgeExpired(call);
      await sessions.purgeExpired(call);
      await keys.purgeExpired(call);
    },

    async close(): Promise<void> {
      await keys.close();
    },
  };
}

/** Identity as other rooms see it. */
export type Identity = Awaited<ReturnType<typeof createIdentity>>;

type Person = Extract<Principal, { kind: "account" }>;

/** The caller, who must be somebody with an account. */
function person(principal: Principal): Person {
  if (principal.kind === "account") return principal;
  if (principal.kind === "anonymous") throw signInRequired();
  throw permissionDenied(
    "This is for people who have signed in: not for API keys, nor in a shop whose ACCESS is off.",
    "PEOPLE_ONLY",
  );
}

function wrongCredentials(): AppError {
  return new AppError(
    "unauthenticated",
    "Email and password do not belong together. Check both, or register if you have no account.",
    { reason: "SIGN_IN_FAILED" },
  );
}

function wrongPassword(): AppError {
  return new AppError("unauthenticated", "The current password is wrong. Send the one you sign in with.", {
    reason: "PASSWORD_WRONG",
  });
}
