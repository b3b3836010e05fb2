import type { InferEntity } from "@mikro-orm/postgresql";
import { sql } from "kysely";
import { type Database, prepared, type Tx } from "../infra/postgres/postgres.ts";
import { violatesConstraint } from "../infra/postgres/postgres-errors.ts";
import { runMutation } from "../infra/postgres/run-mutation.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { AppError, invalidField, notFound, staleEtag } from "../kernel/errors.ts";
import { assertPresent, fieldsToUpdate, pick, type UpdatableFields } from "../kernel/fields.ts";
import type { Ids } from "../kernel/ids.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../kernel/page.ts";
import type { Principal } from "../kernel/principal.ts";
import { CustomerEntity } from "./customer.entity.ts";

/** Somebody who buys. */
export interface Customer {
  id: string;
  email: string;
  name: string;
  etag: string;
  createTime: Date;
  updateTime: Date;
  deleteTime: Date | undefined;
}

/** What staff write of a customer. */
export interface CustomerInput {
  email: string;
  name: string;
}

/** A change of a customer: the new values, and how it is to be done. */
export interface CustomerChange<Input> {
  customer: Input;
  requestId: string;
  validateOnly: boolean;
}

const CHANGEABLE: UpdatableFields<keyof CustomerInput> = {
  resource: "customer",
  fields: { email: "email", name: "name" },
  required: new Set(["email", "name"]),
};

type Row = InferEntity<typeof CustomerEntity>;

interface ReadRow {
  id: string;
  email: string;
  name: string;
  version: number;
  created_at: string;
  updated_at: string;
  deleted_at: string | null;
}

const BY_ID = prepared("select * from customer where id = $1 and ($2 or deleted_at is null)");
// A page begins after an id; the first one after the lowest there is.
const LIST = prepared(
  "select * from customer where id > $1 and ($2 or deleted_at is null) order by id limit $3",
);
const BY_EMAIL = prepared(
  "select * from customer where id > $1 and ($2 or deleted_at is null) and lower(email) = lower($4) order by id limit $3",
);
const LOWEST_ID = "00000000-0000-0000-0000-000000000000";

/** What the customers are made of. */
export interface CustomerOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
  /** Whether a caller may change a customer; absent: whoever may call may change all. @throws PERMISSION_DENIED */
  assertMayChange?: (tx: Tx, principal: Principal, id: string) => Promise<void>;
}

/** The people who buy, as rows that staff keep. */
export function createCustomers({ db, ids, clock, tokens, assertMayChange }: CustomerOptions) {
  async function find(tx: Tx, call: Call, id: string): Promise<Row> {
    const row = await tx.em.findOne(CustomerEntity, { id });
    if (row === null) throw notFound("customer", id);
    await assertMayChange?.(tx, call.principal, id);
    return row;
  }

  async function add(tx: Tx, customer: CustomerInput): Promise<Customer> {
    const now = clock.now();
    const row = tx.em.create(CustomerEntity, { ...customer, id: ids(), createdAt: now, updatedAt: now });
    await flush(tx, row);
    return toCustomer(row);
  }

  return {
    /** One customer. NOT_FOUND when there is none, or they are deleted and `showDeleted` is not set. */
    async get(call: Call, id: string, showDeleted: boolean): Promise<Customer> {
      const [row] = await db.read<ReadRow>(call, BY_ID, [id, showDeleted]);
      if (row === undefined) throw notFound("customer", id);
      return fromRow(row);
    },

    /** Customers in order of creation: all, or those with an email. */
    async list(
      call: Call,
      { email, showDeleted, ...page }: PageRequest & { email: string; showDeleted: boolean },
    ): Promise<Page<Customer>> {
      const query = { list: "customers", email, showDeleted };
      const size = resolvePageSize(page.pageSize);
      const [after = LOWEST_ID] = tokens.readCursor(page.pageToken, query) ?? [];
      const values = [after, showDeleted, size + 1];
      const rows = await (email === ""
        ? db.read<ReadRow>(call, LIST, values)
        : db.read<ReadRow>(call, BY_EMAIL, [...values, email]));
      return tokens.createPage(rows, size, query, (row) => [row.id], fromRow);
    },

    /** A new customer. ALREADY_EXISTS when the email is taken. */
    async create(call: Call, { customer, ...how }: CustomerChange<CustomerInput>): Promise<Customer> {
      assertPresent({ "customer.email": customer.email, "customer.name": customer.name });
      assertVisibleName("customer.name", customer.name);
      const { result } = await runMutation(db, call, { ...how, method: "CreateCustomer" }, customer, (tx) =>
        add(tx, customer),
      );
      return result;
    },

    /** Changes the fields of the mask; an empty mask stands for the fields that are not empty. */
    async update(
      call: Call,
      {
        customer,
        mask,
        ...how
      }: CustomerChange<CustomerInput & { id: string; etag: string }> & { mask: string[] },
    ): Promise<Customer> {
      assertPresent({ "customer.id": customer.id });
      const keys = fieldsToUpdate(CHANGEABLE, customer, mask);
      if (keys.includes("name")) assertVisibleName("customer.name", customer.name);
      const body = { customer, mask };
      const { result } = await runMutation(
        db,
        call,
        { ...how, method: "UpdateCustomer" },
        body,
        async (tx) => {
          const row = await find(tx, call, customer.id);
          assertLive(row.id, row.deletedAt);
          assertCurrent(row, customer.etag);
          tx.em.assign(row, { ...pick(customer, keys), updatedAt: clock.now() });
          await flush(tx, row);
          tx.invalidate(tagOf(row));
          return toCustomer(row);
        },
      );
      return result;
    },

    /** Deletes a customer; their orders stay. NOT_FOUND when they are deleted already. */
    remove(call: Call, id: string, etag: string): Promise<Customer> {
      return db.transact(call, async (tx) => {
        const row = await find(tx, call, id);
        if (row.deletedAt) throw notFound("customer", id);
        assertCurrent(row, etag);
        const now = clock.now();
        tx.em.assign(row, { deletedAt: now, updatedAt: now });
        await flush(tx, row);
        tx.invalidate(tagOf(row));
        return toCustomer(row);
      });
    },

    /** Brings a deleted customer back. ALREADY_EXISTS when they are not deleted, or their email is taken. */
    restore(call: Call, id: string, etag: string): Promise<Customer> {
      return db.transact(call, async (tx) => {
        const row = await find(tx, call, id);
        if (!row.deletedAt) {
          throw new AppError("already_exists", `Customer ${id} is not deleted.`, {
            reason: "CUSTOMER_NOT_DELETED",
            resource: { type: "customer", name: id },
          });
        }
        assertCurrent(row, etag);
        tx.em.assign(row, { deletedAt: null, updatedAt: clock.now() });
        await flush(tx, row);
        tx.invalidate(tagOf(row));
        return toCustomer(row);
      });
    },

    /** For accounts, in their transaction: a new customer. ALREADY_EXISTS when the email is taken. */
    add,

    /** The customer with this email, without regard to case; none when they are deleted. */
    async byEmail(call: Call, email: string): Promise<Customer | undefined> {
      const [row] = await db.read<ReadRow>(call, BY_EMAIL, [LOWEST_ID, false, 1, email]);
      return row && fromRow(row);
    },

    /** For reviews, in their transaction: what a customer is called. */
    async nameOf(tx: Tx, id: string): Promise<string> {
      const [row] = await tx.query(sql<{ name: string }>`select name from customer where id = ${id}`);
      if (row === undefined) throw notFound("customer", id);
      return row.name;
    },

    /** For orders, in their transaction: the customer is there, and stays there until it ends. */
    async assertExists(tx: Tx, id: string): Promise<void> {
      const [row] = await tx.query(sql<{ deleted_at: string | null }>`
        select deleted_at from customer where id = ${id} for share`);
      if (row === undefined) throw notFound("customer", id);
      assertLive(id, row.deleted_at);
    },
  };
}

/** The customers as other rooms see them. */
export type Customers = ReturnType<typeof createCustomers>;

/**
 * What somebody is called can be seen: there is more to it than blanks and what shows nothing.
 * @param field where the request has it
 * @throws INVALID_ARGUMENT
 */
export function assertVisibleName(field: string, name: string): void {
  if (/[^\p{Z}\p{C}\p{M}\p{Default_Ignorable_Code_Point}\u2800]/u.test(name)) return;
  throw invalidField(field, "is blank. Say what to call them, in letters that can be seen.");
}

/** What is known of callers depends on their customer. */
const tagOf = ({ id }: Row): string => `customer:${id}`;

/** Comes after what the state forbids: who repeats a delete learns that it is done, not that it is stale. */
function assertCurrent({ id, version }: Row, etag: string): void {
  if (etag !== "" && etag !== String(version)) throw staleEtag("customer", id, String(version));
}

function assertLive(id: string, deletedAt: Date | string | null | undefined): void {
  if (!deletedAt) return;
  throw new AppError("failed_precondition", `Customer ${id} is deleted. Undelete them first.`, {
    reason: "CUSTOMER_DELETED",
    preconditions: [{ type: "DELETED", subject: `customers/${id}`, description: "undelete them first" }],
  });
}

async function flush(tx: Tx, row: Row): Promise<void> {
  try {
    await tx.em.flush();
  } catch (error) {
    if (!violatesConstraint(error, "customer_email_unique")) throw error;
    throw new AppError(
      "already_exists",
      "A customer with this email exists. Use another email, or that customer.",
      { reason: "EMAIL_TAKEN", resource: { type: "customer", name: row.email } },
    );
  }
}

function toCustomer(row: Row): Customer {
  return {
    ...pick(row, ["id", "email", "name"]),
    etag: String(row.version),
    createTime: row.createdAt,
    updateTime: row.updatedAt,
    deleteTime: row.deletedAt ?? undefined,
  };
}

function fromRow(row: ReadRow): Customer {
  return {
    ...pick(row, ["id", "email", "name"]),
    etag: String(row.version),
    createTime: new Date(row.created_at),
    updateTime: new Date(row.updated_at),
    deleteTime: row.deleted_at === null ? undefined : new Date(row.deleted_at),
  };
}
