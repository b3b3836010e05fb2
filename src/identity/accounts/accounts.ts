import { sql } from "kysely";
import type { Customer, Customers } from "../../customer/customer.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { violatesConstraint } from "../../infra/postgres/postgres-errors.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import { type Ids, NIL_UUID } from "../../kernel/ids.ts";
import type { Role } from "../../kernel/principal.ts";
import { AccountEntity } from "../identity.entity.ts";

/** A person who can sign in. The email and the name are those of the account's customer. */
export interface Account {
  id: string;
  customerId: string;
  email: string;
  name: string;
  role: Role;
  createTime: Date;
}

/** The fields of an account that an access token contains. */
export type TokenSubject = Pick<Account, "id" | "customerId" | "role">;

/** An account with its password hash. */
export interface AccountCredentials {
  account: Account;
  /** Argon2id in the PHC string format. */
  passwordHash: string;
}

/** The stored accounts. An account whose customer is deleted counts as absent. */
export interface Accounts {
  /** Returns an account. @throws AppError not_found when there is none */
  get(call: Call, id: string): Promise<Account>;
  /** Returns an account with its password hash. @throws AppError not_found when there is none */
  getCredentials(call: Call, id: string): Promise<AccountCredentials>;
  /** Returns the account of the customer with this email, with its password hash; undefined when there is none. */
  findCredentials(call: Call, email: string): Promise<AccountCredentials | undefined>;
  /** Returns whether any account exists. */
  hasAny(call: Call): Promise<boolean>;
  /** Creates the account of a customer. @throws AppError already_exists when the customer has one */
  create(tx: Tx, customer: Customer, input: { role: Role; passwordHash: string }): Promise<Account>;
  /**
   * Returns the fields of an account for its next access token.
   * @throws AppError not_found for an unknown account, failed_precondition for a deleted customer
   */
  getTokenSubject(tx: Tx, id: string): Promise<TokenSubject>;
  /**
   * Locks an account until the transaction ends, so that no session is created with a password that is replaced
   * concurrently.
   * @param passwordHash the hash that the password was verified against
   * @throws AppError aborted when the account has another hash by now
   */
  lockPassword(tx: Tx, id: string, passwordHash: string): Promise<void>;
  /** Replaces a password hash. */
  setPasswordHash(tx: Tx, id: string, passwordHash: string): Promise<void>;
  /** Changes the role of the account with this email, effective immediately. @throws AppError not_found */
  setRole(call: Call, email: string, role: Role): Promise<Account>;
}

/** Dependencies of the accounts. */
export interface AccountsOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  customers: Customers;
}

interface AccountRow {
  id: string;
  customer_id: string;
  password_hash: string;
  role: string;
  created_at: string;
}

const COLUMNS = sql.raw("id, customer_id, password_hash, role, created_at");
const findById = prepare<[id: string], AccountRow>(
  (id) => sql`select ${COLUMNS} from account where id = ${id}`,
);
const findByCustomer = prepare<[customerId: string], AccountRow>(
  (customerId) => sql`select ${COLUMNS} from account where customer_id = ${customerId}`,
);
const ROLES: readonly Role[] = ["CUSTOMER", "STAFF", "ADMIN"];

/** Returns the cache tag of what depends on an account. */
export const accountTag = (id: string): string => `account:${id}`;

/** Creates the store of accounts. */
export function createAccounts({ db, ids, clock, customers }: AccountsOptions): Accounts {
  async function getCredentials(call: Call, id: string): Promise<AccountCredentials> {
    const [row] = await db.read(call, findById(id));
    if (row === undefined) throw notFound("account", id);
    return credentialsFromRow(row, await customers.get(call, row.customer_id, false));
  }

  async function findCredentials(call: Call, email: string): Promise<AccountCredentials | undefined> {
    const customer = await customers.findByEmail(call, email);
    // Queries for unknown emails too, so that the response time does not reveal whether an account exists.
    const [row] = await db.read(call, findByCustomer(customer?.id ?? NIL_UUID));
    return customer && row && credentialsFromRow(row, customer);
  }

  return {
    getCredentials,
    findCredentials,

    async get(call, id) {
      return (await getCredentials(call, id)).account;
    },

    async hasAny(call) {
      return (await db.read(call, sql`select from account limit 1`)).length > 0;
    },

    async create(tx, customer, { role, passwordHash }) {
      const now = clock.now();
      const id = ids();
      const { id: customerId, email, name } = customer;
      tx.em.create(AccountEntity, { id, customerId, passwordHash, role, createdAt: now, updatedAt: now });
      await tx.em.flush().catch((error: unknown) => {
        throw violatesConstraint(error, "account_customer_unique") ? accountExists(email) : error;
      });
      return { id, customerId, email, name, role, createTime: now };
    },

    async getTokenSubject(tx, id) {
      const [row] = await tx.query(sql<{ customer_id: string; role: string }>`
        select customer_id, role from account where id = ${id}`);
      if (row === undefined) throw notFound("account", id);
      await customers.lock(tx, row.customer_id);
      return { id, customerId: row.customer_id, role: parseRole(row.role) };
    },

    async lockPassword(tx, id, passwordHash) {
      const [row] = await tx.query(sql<{ password_hash: string }>`
        select password_hash from account where id = ${id} for no key update`);
      if (row?.password_hash !== passwordHash) throw passwordChanged();
    },

    async setPasswordHash(tx, id, passwordHash) {
      await tx.query(sql`
        update account set password_hash = ${passwordHash}, updated_at = ${clock.now()} where id = ${id}`);
      tx.invalidate(accountTag(id));
    },

    async setRole(call, email, role) {
      const credentials = await findCredentials(call, email);
      if (credentials === undefined) throw notFound("account", email);
      const { account } = credentials;
      await db.transact(call, async (tx) => {
        await tx.query(sql`
          update account set role = ${role}, updated_at = ${clock.now()} where id = ${account.id}`);
        tx.invalidate(accountTag(account.id));
      });
      return { ...account, role };
    },
  };
}

/** Returns the role of a database value. @throws Error for an unknown role */
export function parseRole(text: string): Role {
  const role = ROLES.find((name) => name === text);
  if (role === undefined) throw new Error(`unknown role ${text}`);
  return role;
}

function accountExists(email: string): AppError {
  return new AppError("already_exists", "An account with this email already exists. Sign in instead.", {
    reason: "ACCOUNT_EXISTS",
    resource: { type: "account", name: email },
  });
}

function passwordChanged(): AppError {
  return new AppError("aborted", "The password was changed concurrently. Retry the call.", {
    reason: "CONTENTION",
    retryAfterMs: 100,
  });
}

function credentialsFromRow(row: AccountRow, { email, name }: Customer): AccountCredentials {
  const account: Account = {
    id: row.id,
    customerId: row.customer_id,
    email,
    name,
    role: parseRole(row.role),
    createTime: new Date(row.created_at),
  };
  return { account, passwordHash: row.password_hash };
}
