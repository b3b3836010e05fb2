import { Client } from "pg";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { migrate } from "../../../../src/infra/postgres/migrate.ts";
import { errorMessage } from "../../../../src/kernel/errors.ts";
import type { Log } from "../../../../src/kernel/log.ts";
import { silentLog } from "../../../support/log.ts";
import {
  type FormerShop,
  migrateToFormer,
  seedFormerShop,
} from "../../../support/migration/former-database.ts";
import { type FormerReplica, startFormerReplica } from "../../../support/migration/former-replica.ts";
import { migrateUntil } from "../../../support/migration/interrupted-migration.ts";
import { readSchema } from "../../../support/migration/read-schema.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

const UNDEFINED_COLUMN = "42703";
const CLIENTS = 6;
const FIRST_ORDER = "00000000-0000-0000-0000-000000000001";
const WAIT = { timeout: 60_000, interval: 20 };
const SHOP = { products: 3_000, orders: 2_000 };

let database: TestDatabase;

async function createFormerShop(shop: FormerShop): Promise<TestDatabase> {
  const created = await createTestDatabase("template1");
  await migrateToFormer(created.url);
  await seedFormerShop(created, shop);
  return created;
}

beforeEach(async () => {
  database = await createFormerShop(SHOP);
});

afterEach(() => database.drop());

/** The schema that migrations of an empty database create. */
async function expectedSchema(): Promise<string[]> {
  const empty = await createTestDatabase();
  return readSchema(empty).finally(() => empty.drop());
}

async function expectMigrated(): Promise<void> {
  expect(await readSchema(database)).toEqual(await expectedSchema());
  expect(await findViolations(database.url)).toEqual([]);
  const wrongRequests = await database.query(`
    select orders.id from orders
      left join idempotency on method = 'CreateOrder' and idempotency.request_id = orders.request_id
    where (orders.owner, orders.fingerprint)
      is distinct from (coalesce(customer_id::text, idempotency.owner, ''), idempotency.fingerprint)`);
  expect(wrongRequests).toEqual([]);
}

describe("the migration of inventory and orders", () => {
  test("the migration keeps the stock of each product and reserves the units of its pending orders", async () => {
    const before = await database.query(`
      select product.id, stock_quantity as stock, purchase_count as sold, in_stock, popularity, (
        select coalesce(sum(quantity), 0)::bigint from order_item join orders on orders.id = order_id
        where product_id = product.id and state = 'PENDING'
      ) as reserved from product order by id`);
    await migrate(database.url, entities, silentLog);
    const after = await database.query(`
      select product.id, on_hand - reserved as stock, coalesce(purchase_count, 0)::bigint as sold, in_stock, popularity,
        reserved
      from product join inventory on inventory.product_id = id left join product_sales using (product_id) order by id`);
    expect(before).toHaveLength(SHOP.products);
    expect(after).toEqual(before);
    await expectMigrated();
  });

  test("a batch of products does not read the rows of all batches before it", async () => {
    const products = 20_000;
    const shop = await createFormerShop({ products, orders: 100 });
    onTestFinished(() => shop.drop());
    await migrate(shop.url, entities, silentLog);
    const [inventory] = await shop.query<{ read: number }>(
      "select seq_tup_read::int as read from pg_stat_user_tables where relname = 'inventory'",
    );
    // Constraints and the comparison with orders scan the table 5 times. 20 batches would read it 10 times more.
    expect(inventory?.read).toBeGreaterThan(0);
    expect(inventory?.read).toBeLessThan(10 * products);
  });

  test("an old replica reads and writes during the migration and fails afterwards", async () => {
    const replica = startReplica();
    await vi.waitFor(() => expect(replica.committed.cancel).toBeGreaterThan(2), WAIT);
    const before = { ...replica.committed };
    await migrate(database.url, entities, silentLog);
    await replica.ended;
    for (const kind of ["order", "cancel", "adjust", "create", "read"] as const) {
      expect(replica.committed[kind], kind).toBeGreaterThan(before[kind]);
    }
    await expectFailedReplica(replica);
    await expectMigrated();
  });

  test("a migration that is interrupted at each event of its log completes while an old replica runs", async () => {
    const replica = startReplica();
    const reached: string[] = [];
    const run = async (): Promise<boolean> => {
      const log = logWithEvents((event) => {
        if (reached.includes(event)) return;
        reached.push(event);
        throw new Error("interrupted");
      });
      return migrate(database.url, entities, log).then(
        () => true,
        (error: unknown) => {
          expect(errorMessage(error)).toContain("interrupted");
          return false;
        },
      );
    };
    while (!(await run())) {
      const { order } = replica.committed;
      // The old replica has failed from the interruption after the last step on.
      await vi.waitFor(
        () => expect(replica.committed.order > order || replica.errors.length === CLIENTS).toBe(true),
        WAIT,
      );
    }
    await replica.ended;
    expect(reached.length).toBeGreaterThan(15);
    await expectFailedReplica(replica);
    await expectMigrated();
  });

  test("a process that is killed leaves an invalid index and unfinished steps, which the next one completes", async () => {
    await migrateUntil(database.url, (line) => line.includes('"stock movements of orders"'));
    // An old snapshot, which the build of an index waits for.
    const reader = new Client({ connectionString: database.url });
    await reader.connect();
    await reader.query("begin isolation level repeatable read");
    await reader.query("select 1");
    const invalid = () => database.query("select from pg_index where not indisvalid");
    await migrateUntil(database.url, async (line) => {
      if (!line.startsWith("Index build started")) return false;
      await vi.waitFor(async () => expect(await invalid()).toHaveLength(1), WAIT);
      return true;
    });
    await vi.waitFor(async () => {
      const connections = "select from pg_stat_activity where application_name = 'cartwright-migration'";
      expect(await database.query(`${connections} and datname = current_database()`)).toEqual([]);
    }, WAIT);
    expect(await invalid()).toHaveLength(1);
    await reader.query("rollback");
    await reader.end();
    await migrate(database.url, entities, silentLog);
    await expectMigrated();
  });

  test("a long transaction delays the migration, but no other statement", async () => {
    const reader = new Client({ connectionString: database.url });
    await reader.connect();
    await reader.query("begin");
    await reader.query("select from product");
    const { rows } = await reader.query<{ pid: number }>("select pg_backend_pid() as pid");
    const warnings: unknown[] = [];
    const log = { ...silentLog, warn: (fields: object) => void warnings.push(fields) };
    const migration = migrate(database.url, entities, log);
    const blocker = expect.objectContaining({ pid: rows[0]?.pid });
    await vi.waitFor(() => {
      expect(warnings).toContainEqual(expect.objectContaining({ blockers: [blocker] }));
    }, WAIT);
    // Nothing is queued behind a request of the migration.
    await database.query("set lock_timeout = 1");
    await database.query("update product set stock_quantity = stock_quantity where id = $1", [
      "00000000-0000-0000-0000-000000000001",
    ]);
    await reader.query("commit");
    await reader.end();
    await migration;
    await expectMigrated();
  });

  test("units of pending orders are reserved even if the ledger lacks them", async () => {
    await database.query("delete from stock_movement where order_id = $1", [FIRST_ORDER]);
    const read = (stock: string, table: string, id: string) =>
      database.query(
        `select sum(${stock})::int as stock from ${table}
         where ${id} in (select product_id from order_item where order_id = $1)`,
        [FIRST_ORDER],
      );
    const before = await read("stock_quantity", "product", "id");
    await migrate(database.url, entities, silentLog);
    expect(await read("on_hand - reserved", "inventory", "product_id")).toEqual(before);
    // The checks report the ledger as they did before.
    expect(await findViolations(database.url)).not.toEqual([]);
    expect(
      await database.query(`
        select from inventory join (
          select product_id, sum(quantity) as units from order_item join orders on orders.id = order_id
          where state = 'PENDING' group by product_id
        ) as ordered using (product_id) where reserved <> units`),
    ).toEqual([]);
  });
});

function startReplica(): FormerReplica {
  const replica = startFormerReplica(database.url, { clients: CLIENTS, products: SHOP.products });
  onTestFinished(async () => {
    replica.stop();
    await replica.ended;
  });
  return replica;
}

/** Expects that each client has failed because of a missing column, and that all acknowledged orders are stored. */
async function expectFailedReplica(replica: FormerReplica): Promise<void> {
  expect(replica.errors).toEqual(Array.from({ length: CLIENTS }, () => UNDEFINED_COLUMN));
  const stored = await database.query<{ state: string }>(
    "select state from orders where id = any($1::uuid[])",
    [[...replica.orders]],
  );
  expect(stored).toHaveLength(replica.orders.size);
  expect(stored.filter(({ state }) => state === "CANCELLED")).toHaveLength(replica.committed.cancel);
}

/** A log that calls `onEvent` with the message and the fields that name a step. */
function logWithEvents(onEvent: (event: string) => void): Log {
  const write = ({ step, table, tables, constraint, index }: Record<string, unknown>, message: string) =>
    onEvent(JSON.stringify([message, step, table, tables, constraint, index]));
  return { ...silentLog, debug: write, info: write };
}
