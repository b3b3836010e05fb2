import { assertVisibleName, type Customers } from "../../customer/customer.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError } from "../../kernel/errors.ts";
import type { RefreshGrant, Sessions } from "../sessions/sessions.ts";
import type { Account, AccountCredentials, Accounts } from "./accounts.ts";
import type { PasswordHasher } from "./password-hasher.ts";
import type { SignInAttempt, SignInBackoff } from "./sign-in-backoff.ts";

/** An account with a refresh token of its new session. */
export interface NewSession {
  account: Account;
  grant: RefreshGrant;
}

/** The operations that set or verify an account's password. */
export interface PasswordSignIn {
  /**
   * Creates a customer, its account and a session, in one transaction.
   * @throws AppError already_exists when a customer has the email
   */
  register(call: Call, input: { email: string; name: string; password: string }): Promise<NewSession>;
  /**
   * Verifies an email and a password and creates a session.
   * @throws AppError unauthenticated for wrong credentials, resource_exhausted after too many failures, unavailable when too
   *   many password checks are queued
   */
  signIn(call: Call, input: { email: string; password: string }): Promise<NewSession>;
  /**
   * Replaces the password of an account and revokes its other sessions.
   * @throws AppError unauthenticated when the current password is wrong
   */
  changePassword(
    call: Call,
    owner: { accountId: string; sessionId: string },
    input: { currentPassword: string; newPassword: string },
  ): Promise<void>;
}

/** Dependencies of sign-in with passwords. */
export interface PasswordSignInOptions {
  db: Database;
  accounts: Accounts;
  customers: Customers;
  sessions: Sessions;
  passwordHasher: PasswordHasher;
  backoff: SignInBackoff;
}

/** Creates sign-in with passwords. */
export function createPasswordSignIn(options: PasswordSignInOptions): PasswordSignIn {
  const { db, accounts, customers, sessions, passwordHasher, backoff } = options;

  /** Returns whether the password is correct. Takes the same time for accounts that do not exist. */
  async function verifyPassword(
    call: Call,
    credentials: AccountCredentials | undefined,
    password: string,
    attempt: SignInAttempt,
  ): Promise<boolean> {
    try {
      return await passwordHasher.verify(credentials?.passwordHash, password, call.signal);
    } catch (error) {
      // The password was not verified, so the attempt is not counted.
      if (error instanceof AppError) await backoff.cancel(attempt);
      throw error;
    }
  }

  return {
    async register(call, { email, name, password }) {
      assertVisibleName("name", name);
      const passwordHash = await passwordHasher.hash(password, call.signal);
      return db.transact(call, async (tx) => {
        const customer = await customers.insert(tx, { email, name });
        const account = await accounts.create(tx, customer, { role: "CUSTOMER", passwordHash });
        return { account, grant: await sessions.create(tx, call, account.id) };
      });
    },

    async signIn(call, { email, password }) {
      const credentials = await accounts.findCredentials(call, email);
      const knownNetwork = await sessions.findKnownNetwork(call, credentials?.account.id);
      if (knownNetwork === "" && call.siteDenial !== undefined) throw call.siteDenial;
      const attempt = await backoff.reserve(call, email, knownNetwork);
      const isCorrect = await verifyPassword(call, credentials, password, attempt);
      if (credentials === undefined || !isCorrect) throw invalidCredentials();
      const { account, passwordHash } = credentials;
      // A failed rehash is no reason to fail the sign-in: the next one repeats it.
      const newHash = passwordHasher.needsRehash(passwordHash)
        ? await passwordHasher.hash(password, call.signal).catch(() => undefined)
        : undefined;
      const grant = await db.transact(call, async (tx) => {
        await accounts.lockPassword(tx, account.id, passwordHash);
        await backoff.clear(tx, attempt);
        if (newHash !== undefined) await accounts.setPasswordHash(tx, account.id, newHash);
        return sessions.create(tx, call, account.id);
      });
      return { account, grant };
    },

    async changePassword(call, { accountId, sessionId }, { currentPassword, newPassword }) {
      const credentials = await accounts.getCredentials(call, accountId);
      // Counted separately from sign-ins, so that attempts of others cannot keep the owner from changing the password.
      const attempt = await backoff.reserve(call, credentials.account.email, "session");
      if (!(await verifyPassword(call, credentials, currentPassword, attempt))) throw wrongPassword();
      const newHash = await passwordHasher.hash(newPassword, call.signal);
      await db.transact(call, async (tx) => {
        await accounts.lockPassword(tx, accountId, credentials.passwordHash);
        await backoff.clear(tx, attempt);
        await accounts.setPasswordHash(tx, accountId, newHash);
        await sessions.revokeOthers(tx, accountId, sessionId);
      });
    },
  };
}

function invalidCredentials(): AppError {
  return new AppError("unauthenticated", "Invalid email or password.", { reason: "SIGN_IN_FAILED" });
}

function wrongPassword(): AppError {
  return new AppError("unauthenticated", "The current password is incorrect.", { reason: "PASSWORD_WRONG" });
}
