import { assertVisibleName, type Customers } from "../../customer/customer.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { notFound } from "../../kernel/errors.ts";
import type { Role } from "../../kernel/principal.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { Account, Accounts } from "./accounts.ts";
import type { PasswordHasher } from "./password-hasher.ts";

/** What an operator does for people. */
export interface AccountAdminOptions {
  db: Database;
  accounts: Accounts;
  customers: Customers;
  passwords: PasswordHasher;
  sessions: Pick<Sessions, "endAllOf">;
}

/** What people cannot do for themselves: accounts of the first admin, staff and old customers, lost passwords. */
export function createAccountAdmin({ db, accounts, customers, passwords, sessions }: AccountAdminOptions) {
  return {
    /**
     * An account with a role, of the customer with this email, who is made if there is none.
     * @throws ALREADY_EXISTS when they have one
     */
    async createUser(
      call: Call,
      input: { email: string; name: string; password: string; role: Role },
    ): Promise<Account> {
      const { email, name, password, role } = input;
      assertVisibleName("name", name);
      const passwordHash = await passwords.hash(password, call.signal);
      const known = await customers.byEmail(call, email);
      return db.transact(call, async (tx) => {
        const customer = known ?? (await customers.add(tx, { email, name }));
        return accounts.add(tx, customer, { role, passwordHash });
      });
    },

    /** Another password, at once, which ends all sessions. NOT_FOUND when nobody with this email has an account. */
    async setPassword(
      call: Call,
      { email, password }: { email: string; password: string },
    ): Promise<Account> {
      const found = await accounts.byEmail(call, email);
      if (found === undefined) throw notFound("account", email);
      const { account } = found;
      const passwordHash = await passwords.hash(password, call.signal);
      await db.transact(call, async (tx) => {
        await accounts.setPassword(tx, account.id, passwordHash);
        await sessions.endAllOf(tx, account.id);
      });
      return account;
    },
  };
}
