import { expect } from "vitest";
import type { TestDatabase } from "./database.ts";

const OTHER_CONNECTIONS =
  "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";

/** The connections of the service's pool, without those of its jobs. */
const POOL_CONNECTIONS = `${OTHER_CONNECTIONS} and application_name = 'cartwright'`;

/**
 * Locks the product with a sku and its stock on the test's own connection, so that others wait for it.
 * @returns a function that releases the lock
 */
export async function lockProduct(database: TestDatabase, sku: string): Promise<() => Promise<void>> {
  await database.query("begin");
  await database.query("select from product join inventory on product_id = id where sku = $1 for update", [
    sku,
  ]);
  return async () => void (await database.query("rollback"));
}

/** Runs work while the test's own connection locks the row of a product and its stock. */
export async function whileLocked(
  database: TestDatabase,
  productId: string,
  work: () => Promise<void>,
): Promise<void> {
  await database.query("begin");
  await database.query("select from product join inventory on product_id = id where id = $1 for update", [
    productId,
  ]);
  try {
    await work();
  } finally {
    await database.query("rollback");
  }
}

/** Returns the number of connections that wait for a lock, with a statement that contains a text. */
export async function countLockWaits(database: TestDatabase, text = ""): Promise<number> {
  return count(database, `${OTHER_CONNECTIONS} and wait_event_type = 'Lock' and strpos(query, $1) > 0`, [
    text,
  ]);
}

/** Returns the number of connections to the database besides the test's own. */
export async function countConnections(database: TestDatabase): Promise<number> {
  return count(database, OTHER_CONNECTIONS, []);
}

/** Returns the number of connections of the service's pool. */
export async function countPoolConnections(database: TestDatabase): Promise<number> {
  return count(database, POOL_CONNECTIONS, []);
}

/** Returns the number of connections of the service's pool that are in a transaction or run a statement. */
export async function countBusyConnections(database: TestDatabase): Promise<number> {
  return count(database, `${POOL_CONNECTIONS} and state <> 'idle'`, []);
}

/**
 * Terminates the connections to the database besides the test's own.
 * @returns their process ids
 */
export async function terminateConnections(database: TestDatabase): Promise<number[]> {
  const connections = await database.query<{ pid: number }>(
    `select pid, pg_terminate_backend(pid) ${OTHER_CONNECTIONS}`,
  );
  return connections.map(({ pid }) => pid);
}

/** Terminates the connections of the service and waits for their end, at which they report their statistics. */
export async function flushStatistics(database: TestDatabase): Promise<void> {
  const pids = await terminateConnections(database);
  await expect
    .poll(() => database.query("select from pg_stat_activity where pid = any($1)", [pids]))
    .toEqual([]);
}

/** Returns the number of deadlocks that PostgreSQL has resolved. */
export async function countDeadlocks(database: TestDatabase): Promise<number> {
  await flushStatistics(database);
  const [stats] = await database.query<{ deadlocks: number }>(
    "select deadlocks::int from pg_stat_database where datname = current_database()",
  );
  return stats?.deadlocks ?? Number.NaN;
}

async function count(database: TestDatabase, source: string, values: unknown[]): Promise<number> {
  // Within a transaction, PostgreSQL reads statistics once and caches them.
  await database.query("select pg_stat_clear_snapshot()");
  const [row] = await database.query<{ count: number }>(`select count(*)::int as count ${source}`, values);
  return row?.count ?? Number.NaN;
}
