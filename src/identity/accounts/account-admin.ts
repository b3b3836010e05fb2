import { assertVisibleName, type Customers } from "../../customer/customer.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { notFound } from "../../kernel/errors.ts";
import type { Role } from "../../kernel/principal.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { Account, Accounts } from "./accounts.ts";
import type { PasswordHasher } from "./password-hasher.ts";

/** A new account as an administrator describes it. */
export interface NewAccount {
  email: string;
  name: string;
  password: string;
  role: Role;
}

/** Account administration from the command line: accounts of the first admin and of staff, and lost passwords. */
export interface AccountAdmin {
  /**
   * Creates an account with a role and without a session. Its customer is the one with this email, created if there
   * is none.
   * @throws AppError already_exists when the customer has an account
   */
  createAccount(call: Call, input: NewAccount): Promise<Account>;
  /**
   * Replaces the password of the account with this email and revokes all its sessions.
   * @throws AppError not_found when there is no such account
   */
  setPassword(call: Call, input: { email: string; password: string }): Promise<Account>;
}

/** Dependencies of the account administration. */
export interface AccountAdminOptions {
  db: Database;
  accounts: Accounts;
  customers: Customers;
  passwordHasher: PasswordHasher;
  sessions: Pick<Sessions, "revokeAll">;
}

/** Creates the account administration. */
export function createAccountAdmin(options: AccountAdminOptions): AccountAdmin {
  const { db, accounts, customers, passwordHasher, sessions } = options;
  return {
    async createAccount(call, { email, name, password, role }) {
      assertVisibleName("name", name);
      const passwordHash = await passwordHasher.hash(password, call.signal);
      const existing = await customers.findByEmail(call, email);
      return db.transact(call, async (tx) => {
        const customer = existing ?? (await customers.insert(tx, { email, name }));
        return accounts.create(tx, customer, { role, passwordHash });
      });
    },

    async setPassword(call, { email, password }) {
      const credentials = await accounts.findCredentials(call, email);
      if (credentials === undefined) throw notFound("account", email);
      const { account } = credentials;
      const passwordHash = await passwordHasher.hash(password, call.signal);
      await db.transact(call, async (tx) => {
        await accounts.setPasswordHash(tx, account.id, passwordHash);
        await sessions.revokeAll(tx, account.id);
      });
      return account;
    },
  };
}
