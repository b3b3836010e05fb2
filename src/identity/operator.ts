import type { Customers } from "../customer/customer.ts";
import type { Database } from "../infra/postgres.ts";
import type { Call } from "../kernel/call.ts";
import type { Role } from "../kernel/principal.ts";
import type { Account, Accounts } from "./account.ts";
import type { Passwords } from "./password.ts";

/** What an operator does for people. */
export interface OperatorOptions {
  db: Database;
  accounts: Accounts;
  customers: Customers;
  passwords: Passwords;
}

/** Accounts that nobody registered: of the first admin, of staff, of customers who were there before. */
export function createOperator({ db, accounts, customers, passwords }: OperatorOptions) {
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
      const passwordHash = await passwords.hash(password, call.signal);
      const known = await customers.byEmail(call, email);
      return db.transact(call, async (tx) => {
        const customer = known ?? (await customers.add(tx, { email, name }));
        return accounts.add(tx, customer, { role, passwordHash });
      });
    },
  };
}
