import { withRetries } from "../../../kernel/async/with-retries.ts";
import { isContention } from "../postgres-errors.ts";
import { exists, type OnlineSession } from "./online-session.ts";
import { withTableLocks } from "./table-locks.ts";

/** A constraint of a table. */
export interface Constraint {
  table: string;
  name: string;
  /** Its definition without the name. */
  definition: string;
  /** The two tables of a foreign key, in the order in which replicas use them. */
  tables?: readonly string[];
}

/** Size from which the build of an index is logged at info: it may take seconds. */
const LARGE_TABLE_BYTES = 16 * 2 ** 20;
const INDEX_ATTEMPTS = 20;
const INDEX_FIRST_DELAY_MS = 500;
const INDEX_MAX_DELAY_MS = 10_000;

/**
 * Adds a constraint that new rows satisfy from now on, and validates the existing rows afterwards, while the table is
 * read and written.
 */
export async function addConstraint(session: OnlineSession, constraint: Constraint): Promise<void> {
  const { table, name, definition, tables } = constraint;
  const { client } = session;
  const isPresent = await exists(
    session,
    "select from pg_constraint where conrelid = $1::regclass and conname = $2",
    [table, name],
  );
  if (!isPresent) {
    const locks =
      tables === undefined
        ? ({ tables: [table], mode: "access exclusive" } as const)
        : ({ tables, mode: "share row exclusive" } as const);
    await withTableLocks(session, locks, async () => {
      await client.query(`alter table ${table} add constraint ${name} ${definition} not valid`);
    });
  }
  session.log.debug({ table, constraint: name }, "Validation of constraint started");
  // Does nothing for a valid constraint.
  await client.query(`alter table ${table} validate constraint ${name}`);
}

/**
 * Makes a column not null, while the table is read and written. A valid check constraint spares `set not null` the scan
 * of the table under its exclusive lock; only PostgreSQL 18 and later can add the property itself without validation.
 */
export async function addNotNull(session: OnlineSession, table: string, column: string): Promise<void> {
  const { client } = session;
  const isNotNull = await exists(
    session,
    "select from pg_attribute where attrelid = $1::regclass and attname = $2 and attnotnull",
    [table, column],
  );
  const name = `${table}_${column}_present`;
  if (!isNotNull) await addConstraint(session, { table, name, definition: `check (${column} is not null)` });
  await withTableLocks(session, { tables: [table], mode: "access exclusive" }, async () => {
    await client.query(`alter table ${table} alter column ${column} set not null`);
    await client.query(`alter table ${table} drop constraint if exists ${name}`);
  });
}

/** Drops an index while its table is read and written. */
export async function dropIndex(session: OnlineSession, name: string): Promise<void> {
  await withIndexRetries(session, name, async () => {
    await session.client.query(`drop index concurrently if exists ${name}`);
  });
}

/** Builds an index while its table is read and written. An index of an interrupted build is replaced. */
export async function createIndex(
  session: OnlineSession,
  name: string,
  definition: string,
  { isUnique = false }: { isUnique?: boolean } = {},
): Promise<void> {
  const { client, log } = session;
  const [, table = ""] = /^on (\w+)/.exec(definition) ?? [];
  const build = async () => {
    const isValid = await exists(
      session,
      "select from pg_index where indexrelid = to_regclass($1) and indisvalid",
      [name],
    );
    if (isValid) return;
    const isLarge = await exists(session, "select where pg_table_size($1::regclass) > $2", [
      table,
      LARGE_TABLE_BYTES,
    ]);
    log[isLarge ? "info" : "debug"]({ index: name }, "Index build started");
    await client.query(`drop index concurrently if exists ${name}`);
    await client.query(`create ${isUnique ? "unique " : ""}index concurrently ${name} ${definition}`);
  };
  await withIndexRetries(session, name, build);
}

/** Repeats the change of an index, which waits for the transactions that it has found: it can be part of a deadlock. */
async function withIndexRetries(
  { log }: OnlineSession,
  name: string,
  change: () => Promise<void>,
): Promise<void> {
  await withRetries(change, {
    attempts: INDEX_ATTEMPTS,
    firstDelayMs: INDEX_FIRST_DELAY_MS,
    maxDelayMs: INDEX_MAX_DELAY_MS,
    isRetryable: isContention,
    onRetry: (error, retry) => log.warn({ err: error, index: name, ...retry }, "Index change repeated"),
  });
}
