import type { InferEntity } from "@mikro-orm/postgresql";
import { sql } from "kysely";
import { runMutation } from "../infra/postgres/idempotency/run-mutation.ts";
import { type Keyset, keysetCondition, keysetOrder } from "../infra/postgres/keyset.ts";
import type { Database, Tx } from "../infra/postgres/postgres.ts";
import { allOf, prepare, prepareDynamic } from "../infra/postgres/statement.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { type AppError, assertEtag, notFound } from "../kernel/errors.ts";
import { assertPresent, fieldsToUpdate, pick, type UpdatableFields } from "../kernel/fields.ts";
import type { Ids } from "../kernel/ids.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../kernel/page.ts";
import type { Principal } from "../kernel/principal.ts";
import { CustomerEntity } from "./customer.entity.ts";
import {
  assertNotDeleted,
  assertVisibleName,
  customerDeleted,
  emailTakenOr,
  notDeleted,
} from "./customer-errors.ts";
import { CUSTOMER_COLUMNS, type Customer, type CustomerRow, customerFromRow } from "./customer-row.ts";

export { assertVisibleName } from "./customer-errors.ts";
export type { Customer } from "./customer-row.ts";

/** The fields of a customer that callers write. */
export interface CustomerInput {
  email: string;
  name: string;
}

/** A request to create a customer. */
export interface CustomerCreation {
  customer: CustomerInput;
  requestId: string;
  validateOnly: boolean;
}

/** A request to update a customer. */
export interface CustomerUpdate {
  customer: CustomerInput & { id: string; etag: string };
  /** Contract names of the fields to change; empty for those that are not empty. */
  mask: string[];
  requestId: string;
  validateOnly: boolean;
}

/** A request for a page of customers. */
export interface CustomerListRequest extends PageRequest {
  /** Empty for all customers. */
  email: string;
  showDeleted: boolean;
}

/** The customers of the shop. */
export interface Customers {
  /**
   * Returns a customer.
   * @throws AppError not_found when there is none, or it is deleted and `showDeleted` is false
   */
  get(call: Call, id: string, showDeleted: boolean): Promise<Customer>;
  /** Returns a page of customers in order of creation. */
  list(call: Call, request: CustomerListRequest): Promise<Page<Customer>>;
  /**
   * Creates a customer.
   * @throws AppError already_exists when the email is taken
   */
  create(call: Call, creation: CustomerCreation): Promise<Customer>;
  /**
   * Changes the fields of the mask.
   * @throws AppError not_found; already_exists when the email is taken; failed_precondition for a deleted customer;
   *   aborted for a stale etag; permission_denied
   */
  update(call: Call, update: CustomerUpdate): Promise<Customer>;
  /**
   * Marks a customer as deleted; its orders remain.
   * @throws AppError not_found when it is already deleted; aborted for a stale etag; permission_denied
   */
  delete(call: Call, id: string, etag: string): Promise<Customer>;
  /**
   * Restores a deleted customer.
   * @throws AppError already_exists when it is not deleted or its email is taken; aborted for a stale etag
   */
  undelete(call: Call, id: string, etag: string): Promise<Customer>;
  /** Returns the customer with an email, without regard to case; undefined when there is none or it is deleted. */
  findByEmail(call: Call, email: string): Promise<Customer | undefined>;
  /**
   * Creates a customer in the caller's transaction, for a new account.
   * @throws AppError already_exists when the email is taken
   */
  insert(tx: Tx, customer: CustomerInput): Promise<Customer>;
  /**
   * Locks a customer against deletion until the transaction ends.
   * @throws AppError not_found; failed_precondition when it is deleted
   */
  lock(tx: Tx, id: string): Promise<void>;
  /**
   * Returns the errors of those customers that are unknown or deleted, by id: not_found and failed_precondition.
   * @param isLocked whether the customers are locked in id order against deletion until the transaction ends
   */
  findUnavailable(tx: Tx, ids: readonly string[], isLocked: boolean): Promise<Map<string, AppError>>;
  /** Returns the name of a customer, also of a deleted one. @throws AppError not_found */
  readName(tx: Tx, id: string): Promise<string>;
}

/** Dependencies of the customers. */
export interface CustomerOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
  /** Verifies that the caller may change a customer. Defaults to no check. @throws AppError permission_denied */
  assertMayChange?: (tx: Tx, principal: Principal, id: string) => Promise<void>;
}

type Entity = InferEntity<typeof CustomerEntity>;

const UPDATABLE: UpdatableFields<keyof CustomerInput> = {
  resource: "customer",
  fields: { email: "email", name: "name" },
  required: new Set(["email", "name"]),
};
const BY_CREATION: Keyset = { columns: [{ name: "id", type: "uuid" }], descending: false };
const findById = prepare<[id: string, showDeleted: boolean], CustomerRow>(
  (id, showDeleted) => sql`
    select ${CUSTOMER_COLUMNS} from customer where id = ${id} and (${showDeleted} or deleted_at is null)`,
);
const findByEmail = prepare<[email: string], CustomerRow>(
  (email) => sql`
    select ${CUSTOMER_COLUMNS} from customer where lower(email) = lower(${email}) and deleted_at is null`,
);

/** Returns the cache tag of what depends on a customer. */
export const customerTag = (id: string): string => `customer:${id}`;

/** Creates the customers. */
export function createCustomers(options: CustomerOptions): Customers {
  const { db, ids, clock, tokens } = options;

  async function insert(tx: Tx, customer: CustomerInput): Promise<Customer> {
    const now = clock.now();
    const row = tx.em.create(CustomerEntity, { ...customer, id: ids(), createdAt: now, updatedAt: now });
    await flush(tx, row);
    return customerFromRow(row);
  }

  return {
    async get(call, id, showDeleted) {
      const [row] = await db.read(call, findById(id, showDeleted));
      if (row === undefined) throw notFound("customer", id);
      return customerFromRow(row);
    },

    async list(call, { email, showDeleted, pageToken, pageSize }) {
      const query = { list: "customers", email, showDeleted };
      const size = resolvePageSize(pageSize);
      const where = allOf([
        email === "" ? undefined : sql`lower(email) = lower(${email})`,
        showDeleted ? undefined : sql`deleted_at is null`,
        keysetCondition(BY_CREATION, tokens.readCursor(pageToken, query)),
      ]);
      const statement = sql<CustomerRow>`
        select ${CUSTOMER_COLUMNS} from customer where ${where} ${keysetOrder(BY_CREATION)} limit ${size + 1}`;
      const rows = await db.read(call, prepareDynamic(statement));
      return tokens.createPage(rows, size, query, (row) => [row.id], customerFromRow);
    },

    async create(call, { customer, requestId, validateOnly }) {
      assertPresent({ "customer.email": customer.email, "customer.name": customer.name });
      assertVisibleName("customer.name", customer.name);
      const mutation = { method: "CreateCustomer", requestId, validateOnly };
      const { result } = await runMutation(db, call, mutation, customer, (tx) => insert(tx, customer));
      return result;
    },

    async update(call, { customer, mask, requestId, validateOnly }) {
      assertPresent({ "customer.id": customer.id });
      const keys = fieldsToUpdate(UPDATABLE, customer, mask);
      if (keys.includes("name")) assertVisibleName("customer.name", customer.name);
      const mutation = { method: "UpdateCustomer", requestId, validateOnly };
      const { result } = await runMutation(db, call, mutation, { customer, mask }, async (tx) => {
        const row = await findChangeable(options, tx, call, customer.id);
        assertNotDeleted(row.id, row.deletedAt);
        assertCurrent(row, customer.etag);
        return save(tx, row, { ...pick(customer, keys), updatedAt: clock.now() });
      });
      return result;
    },

    delete(call, id, etag) {
      return db.transact(call, async (tx) => {
        const row = await findChangeable(options, tx, call, id);
        if (row.deletedAt) throw notFound("customer", id);
        assertCurrent(row, etag);
        const now = clock.now();
        return save(tx, row, { deletedAt: now, updatedAt: now });
      });
    },

    undelete(call, id, etag) {
      return db.transact(call, async (tx) => {
        const row = await findChangeable(options, tx, call, id);
        if (!row.deletedAt) throw notDeleted(id);
        assertCurrent(row, etag);
        return save(tx, row, { deletedAt: null, updatedAt: clock.now() });
      });
    },

    async findByEmail(call, email) {
      const [row] = await db.read(call, findByEmail(email));
      return row && customerFromRow(row);
    },

    insert,

    async lock(tx, id) {
      const error = (await findUnavailable(tx, [id], true)).get(id);
      if (error !== undefined) throw error;
    },

    findUnavailable,

    async readName(tx, id) {
      const [row] = await tx.query(sql<{ name: string }>`select name from customer where id = ${id}`);
      if (row === undefined) throw notFound("customer", id);
      return row.name;
    },
  };
}

interface DeletionTime {
  id: string;
  deleted_at: string | null;
}

const SELECT_DELETION_TIME = sql`select id, deleted_at from customer`;
const FIND_DELETION_TIMES = prepare<[ids: readonly string[]], DeletionTime>(
  (ids) => sql`${SELECT_DELETION_TIME} where id = any(${ids}::uuid[])`,
);
const LOCK_DELETION_TIMES = prepare<[ids: readonly string[]], DeletionTime>(
  (ids) => sql`${SELECT_DELETION_TIME} where id = any(${ids}::uuid[]) order by id for share`,
);

async function findUnavailable(
  tx: Tx,
  ids: readonly string[],
  isLocked: boolean,
): Promise<Map<string, AppError>> {
  if (ids.length === 0) return new Map();
  const rows = await tx.query((isLocked ? LOCK_DELETION_TIMES : FIND_DELETION_TIMES)(ids));
  const deletedAt = new Map(rows.map((row) => [row.id, row.deleted_at]));
  const errors = new Map<string, AppError>();
  for (const id of ids) {
    const time = deletedAt.get(id);
    if (time === undefined) errors.set(id, notFound("customer", id));
    else if (time !== null) errors.set(id, customerDeleted(id));
  }
  return errors;
}

async function findChangeable(
  { assertMayChange }: CustomerOptions,
  tx: Tx,
  call: Call,
  id: string,
): Promise<Entity> {
  const row = await tx.em.findOne(CustomerEntity, { id });
  if (row === null) throw notFound("customer", id);
  await assertMayChange?.(tx, call.principal, id);
  return row;
}

/** Is called after the checks of the state: a repeated delete reports not_found, not a stale etag. */
function assertCurrent({ id, version }: Entity, etag: string): void {
  assertEtag("customer", { id, etag: String(version) }, etag);
}

async function save(tx: Tx, row: Entity, changes: Partial<Entity>): Promise<Customer> {
  tx.em.assign(row, changes);
  await flush(tx, row);
  // Cached authentications depend on the customer.
  tx.invalidate(customerTag(row.id));
  return customerFromRow(row);
}

async function flush(tx: Tx, row: Entity): Promise<void> {
  await tx.em.flush().catch((error: unknown) => {
    throw emailTakenOr(error, row.email);
  });
}
