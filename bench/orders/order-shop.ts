import { seedShop } from "../../src/cli/seed/seed-shop.ts";
import { entities } from "../../src/entities.ts";
import { createLog } from "../../src/infra/log.ts";
import { openPostgres } from "../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../src/kernel/call.ts";
import { StartupError } from "../../src/kernel/errors.ts";
import { verifyInvariants } from "../../src/operations/operations.ts";
import { createDatabase, withClient } from "../harness/databases.ts";
import { formatNumber } from "../harness/numbers.ts";
import { type Service, startService } from "../harness/service.ts";

/** Units on hand of each product, so that no order is rejected. */
const UNITS = 1_000_000_000;
export const CUSTOMERS = 1_000;
const SEEDED = "orders_seeded";
/** The namespace of the cache in Redis: each copy of the database needs its own. */
const CACHE_NAMESPACE = "cache-namespace";
/** No call of the loads is rejected because of the number of calls, or because the pool is busy. */
const SETTINGS = { MAX_CALLS: "4000", DB_POOL_WAIT_MS: "30000" };
const POOL = { poolMax: 1, poolWaitMs: 5_000, statementTimeoutMs: 600_000 };
const MAX_BREACHES = 3;

/** Copies of one seeded database on one server, for services that are compared. */
export interface OrderShop {
  /** The number of products. */
  readonly products: number;
  /** The versions of the stores. */
  readonly stores: string;
  /** Any database of the server, to observe it. */
  readonly serverUrl: string;
  /** Copies the database. Returns its address. */
  copy(name: string): Promise<string>;
  /** Starts a service on a copy, with its background work. */
  start(databaseUrl: string, settings: Readonly<Record<string, string>>): Promise<Service>;
  close(): Promise<void>;
}

/** Opens a shop in which everything is in stock. */
export async function openOrderShop(products: number): Promise<OrderShop> {
  const base = await startService({ WORKERS: "0" });
  const { databaseUrl: serverUrl, redisUrl, stores } = base;
  const copy = (name: string) => createDatabase(serverUrl, name, SEEDED);
  try {
    console.log(`seeding ${formatNumber(products)} products ...`);
    const seededUrl = await createDatabase(serverUrl, SEEDED);
    const migrating = await startService({ DATABASE_URL: seededUrl, REDIS_URL: redisUrl, WORKERS: "0" });
    await migrating.close();
    await seedShop({ url: seededUrl, products, customers: CUSTOMERS });
    await stockUp(seededUrl);
  } catch (error) {
    await base.close();
    throw error;
  }
  return {
    products,
    stores,
    serverUrl,
    copy,
    start: (databaseUrl, settings) =>
      startService({ ...SETTINGS, DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, ...settings }),
    close: () => base.close(),
  };
}

/** Receives units of all products, with their movements. */
async function stockUp(databaseUrl: string): Promise<void> {
  await withClient(databaseUrl, async (client) => {
    await client.query(`
      with received as (
        update inventory set on_hand = ${UNITS}, version = version + 1
        from (select product_id, ${UNITS} - on_hand as units from inventory) as missing
        where inventory.product_id = missing.product_id returning inventory.product_id, units
      ), available as (
        update product set in_stock = true where not in_stock
      )
      insert into stock_movement (product_id, on_hand_delta, reserved_delta, reason, effective_at, created_at)
      select product_id, units, 0, 'RECEIVED', now(), now() from received`);
    await client.query("delete from secret where name = $1", [CACHE_NAMESPACE]);
    await client.query("vacuum (full, analyze) inventory");
    await client.query("vacuum (analyze)");
  });
}

/** Returns the number of orders. */
export async function countOrders(databaseUrl: string): Promise<number> {
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ count: number }>("select count(*)::int as count from orders");
    return rows[0]?.count ?? Number.NaN;
  });
}

/** @throws StartupError with the breaches when an invariant is violated */
export async function assertInvariants(what: string, databaseUrl: string): Promise<void> {
  const log = createLog("warn", process.stderr);
  const db = await openPostgres({ url: databaseUrl, entities, log, ...POOL });
  try {
    const { checks } = await verifyInvariants(db, internalCall(), MAX_BREACHES);
    const failed = checks.filter(({ breachCount }) => breachCount > 0n);
    if (failed.length === 0) return;
    const texts = failed.map(
      ({ name, breachCount, breaches }) => `${name}: ${breachCount}, such as ${JSON.stringify(breaches)}`,
    );
    throw new StartupError(`After ${what} invariants are violated:\n${texts.join("\n")}`);
  } finally {
    await db.close();
  }
}
