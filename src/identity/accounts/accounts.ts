import { sql } from "kysely";
import type { Customer, Customers } from "../../customer/customer.ts";
import { type Database, prepared, type Tx } from "../../infra/postgres/postgres.ts";
import { violatesConstraint } from "../../infra/postgres/postgres-errors.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import type { Ids } from "../../kernel/ids.ts";
import type { Role } from "../../kernel/principal.ts";
import { AccountEntity } from "../identity.entity.ts";

/** Who can sign in. The email and the name are the customer's. */
export interface Account {
  id: string;
  customerId: string;
  email: string;
  name: string;
  role: Role;
  createTime: Date;
}

/** What an access token says of an account. */
export type Holder = Pick<Account, "id" | "customerId" | "role">;

/** An account, and what its password is checked by. */
export interface Credentials {
  account: Account;
  passwordHash: string;
}

interface ReadRow {
  id: string;
  customer_id: string;
  password_hash: string;
  role: string;
  created_at: string;
}

const BY_ID = prepared("select * from account where id = $1");
const BY_CUSTOMER = prepared("select * from account where customer_id = $1");
const ROLES: readonly Role[] = ["CUSTOMER", "STAFF", "ADMIN"];

/** What answers about an account are made of. */
export const accountTag = (id: string): string => `account:${id}`;

/** The rows of accounts. Those of deleted customers are as if they were not there. */
export function createAccounts(options: { db: Database; ids: Ids; clock: Clock; customers: Customers }) {
  const { db, ids, clock, customers } = options;

  async function find(call: Call, id: string): Promise<Credentials> {
    const [row] = await db.read<ReadRow>(call, BY_ID, [id]);
    if (row === undefined) throw notFound("account", id);
    return fromRow(row, await customers.get(call, row.customer_id, false));
  }

  async function byEmail(call: Call, email: string): Promise<Credentials | undefined> {
    const customer = await customers.byEmail(call, email);
    // A second question all the same: who has no account is not to be told by the time.
    const [row] = await db.read<ReadRow>(call, BY_CUSTOMER, [customer?.id ?? NOBODY]);
    return customer && row && fromRow(row, customer);
  }

  return {
    /** An account. NOT_FOUND when there is none. */
    find,
    /** The account of the customer with this email. */
    byEmail,

    /** The same without what its password is checked by. */
    async get(call: Call, id: string): Promise<Account> {
      return (await find(call, id)).account;
    },

    /** Whether there are any. */
    async areThere(call: Call): Promise<boolean> {
      return (await db.read(call, { text: "select from account limit 1" }, [])).length > 0;
    },

    /** A new account of a customer. ALREADY_EXISTS when they have one. */
    async add(
      tx: Tx,
      customer: Customer,
      { role, passwordHash }: { role: Role; passwordHash: string },
    ): Promise<Account> {
      const now = clock.now();
      const id = ids();
      const { id: customerId, email, name } = customer;
      tx.em.create(AccountEntity, { id, customerId, passwordHash, role, createdAt: now, updatedAt: now });
      await tx.em.flush().catch((error: unknown) => {
        throw violatesConstraint(error, "account_customer_unique") ? accountExists(email) : error;
      });
      return { id, customerId, email, name, role, createTime: now };
    },

    /** Who goes on with a session. @throws NOT_FOUND, or FAILED_PRECONDITION when their customer is deleted */
    async holder(tx: Tx, id: string): Promise<Holder> {
      const [row] = await tx.query(sql<{ customer_id: string; role: string }>`
        select customer_id, role from account where id = ${id}`);
      if (row === undefined) throw notFound("account", id);
      await customers.assertExists(tx, row.customer_id);
      return { id, customerId: row.customer_id, role: roleOf(row.role) };
    },

    /**
     * The password is the one that was checked, and stays that until the transaction ends: no session begins by a
     * password that was changed meanwhile.
     * @throws ABORTED when it is another one by now
     */
    async assertPassword(tx: Tx, id: string, passwordHash: string): Promise<void> {
      const [row] = await tx.query(sql<{ password_hash: string }>`
        select password_hash from account where id = ${id} for no key update`);
      if (row?.password_hash === passwordHash) return;
      throw new AppError("conflict", "The password was changed at this moment. Try again.", {
        reason: "CONTENTION",
        retryAfterMs: 100,
      });
    },

    /** Another hash, of the same password or a new one. */
    async setPassword(tx: Tx, id: string, passwordHash: string): Promise<void> {
      await tx.query(sql`
        update account set password_hash = ${passwordHash}, updated_at = ${clock.now()} where id = ${id}`);
      tx.invalidate(accountTag(id));
    },

    /** Another role, at once. NOT_FOUND when nobody with this email has an account. */
    async setRole(call: Call, email: string, role: Role): Promise<Account> {
      const found = await byEmail(call, email);
      if (found === undefined) throw notFound("account", email);
      const { account } = found;
      await db.transact(call, async (tx) => {
        await tx.query(sql`
          update account set role = ${role}, updated_at = ${clock.now()} where id = ${account.id}`);
        tx.invalidate(accountTag(account.id));
      });
      return { ...account, role };
    },
  };
}

/** The accounts as other files see them. */
export type Accounts = ReturnType<typeof createAccounts>;

const NOBODY = "00000000-0000-0000-0000-000000000000";

/** A role as the database spells it. */
export function roleOf(text: string): Role {
  const role = ROLES.find((known) => known === text);
  if (role === undefined) throw new Error(`no role is called ${text}`);
  return role;
}

function accountExists(email: string): AppError {
  return new AppError("already_exists", "This customer has an account already. Sign in with it.", {
    reason: "ACCOUNT_EXISTS",
    resource: { type: "account", name: email },
  });
}

function fromRow(row: ReadRow, { id: customerId, email, name }: Customer): Credentials {
  const { id, role, password_hash: passwordHash } = row;
  const createTime = new Date(row.created_at);
  return { account: { id, customerId, email, name, role: roleOf(role), createTime }, passwordHash };
}
