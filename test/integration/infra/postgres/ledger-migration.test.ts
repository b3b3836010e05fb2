import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { openForMigration } from "../../../../src/infra/postgres/migrate.ts";
import { addOrderMovements } from "../../../../src/infra/postgres/migrations/online/migration-20261130020000-ledger.ts";
import type { Log } from "../../../../src/kernel/log.ts";
import { silentLog } from "../../../support/log.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";

const PREVIOUS = "migration-20261129100000-stock-fence";
const ROWS = 20_000;
const WRITERS = 3;
const WAIT = { timeout: 60_000, interval: 10 };
const PRODUCT = randomUUID();

let database: TestDatabase;
let client: Client;
beforeEach(async () => {
  database = await createTestDatabase("template1");
  client = new Client({ connectionString: database.url });
  await client.connect();
  const orm = await openForMigration(entities, { url: database.url, session: { client, log: silentLog } });
  await orm.migrator.up({ to: PREVIOUS });
  await orm.close();
  // The movements refer to orders that do not exist.
  await database.query("set session_replication_role = replica");
  await database.query("insert into inventory (product_id, on_hand) values ($1, 1000000)", [PRODUCT]);
  await database.query(
    `insert into stock_movement (product_id, reserved_delta, reason, order_id, effective_at, created_at)
     select $1, case reason when 'ORDER' then 1 else -1 end, reason, gen_random_uuid(), now(), now()
     from generate_series(1, $2::int / 2), unnest(array['ORDER', 'CANCEL']) as reason`,
    [PRODUCT, ROWS],
  );
});
afterEach(async () => {
  await client.end();
  await database.drop();
});

/** Orders and cancellations of a replica of the previous version, without a sequence. */
interface Writer {
  committed: number;
  readonly ended: Promise<void>;
  stop(): void;
}

function startWriter(): Writer {
  let isStopped = false;
  const writer = {
    committed: 0,
    stop: () => {
      isStopped = true;
    },
  };
  const run = async () => {
    const connection = new Client({ connectionString: database.url });
    await connection.connect();
    await connection.query("set session_replication_role = replica");
    while (!isStopped) {
      const orderId = randomUUID();
      for (const [units, reason] of [
        [1, "ORDER"],
        [-1, "CANCEL"],
      ]) {
        await connection.query(
          `with ledger as (
             insert into stock_movement (product_id, reserved_delta, reason, order_id, effective_at, created_at)
             values ($1, $2, $3, $4, now(), now())
           )
           update inventory set reserved = reserved + $2, version = version + 1 where product_id = $1`,
          [PRODUCT, units, reason, orderId],
        );
      }
      writer.committed += 1;
    }
    await connection.end();
  };
  return Object.assign(writer, { ended: run() });
}

async function expectMigrated(): Promise<void> {
  const invalid = await database.query(`
    select conname as name from pg_constraint
    where conrelid = 'stock_movement'::regclass and contype = 'c' and not convalidated
    union all select indexrelid::regclass::name from pg_index where not indisvalid`);
  expect(invalid).toEqual([]);
  const indexes = await database.query<{ name: string }>(
    "select indexname as name from pg_indexes where indexname like 'stock_movement_order%'",
  );
  expect(indexes.map(({ name }) => name)).toEqual(["stock_movement_order_event_unique"]);
}

const fileOfLedger = async () =>
  (await database.query("select pg_relation_filenode('stock_movement') as file"))[0];

test("replicas of the previous version write to the ledger during and after its migration, which rewrites no row", async () => {
  const before = await fileOfLedger();
  const writers = Array.from({ length: WRITERS }, startWriter);
  await vi.waitFor(() => expect(writers.every(({ committed }) => committed > 0)).toBe(true), WAIT);
  await addOrderMovements({ client, log: silentLog });
  const reached = writers.map(({ committed }) => committed);
  await vi.waitFor(() => {
    for (const [index, { committed }] of writers.entries()) {
      expect(committed).toBeGreaterThan((reached[index] ?? 0) + 1);
    }
  }, WAIT);
  for (const writer of writers) writer.stop();
  await Promise.all(writers.map(({ ended }) => ended));
  await expectMigrated();
  expect(await fileOfLedger()).toEqual(before);
  const written = writers.reduce((sum, { committed }) => sum + 2 * committed, 0);
  const [ledger] = await database.query<{ rows: number; sequences: number }>(
    "select count(*)::int as rows, count(order_sequence)::int as sequences from stock_movement",
  );
  expect(ledger).toEqual({ rows: ROWS + written, sequences: 0 });
});

test("a migration of the ledger that is interrupted at each event of its log completes", async () => {
  const reached: string[] = [];
  const interrupt = (fields: object, message: string) => {
    const event = JSON.stringify([message, fields]).replace(/"lockedMs":\d+/, "");
    if (reached.includes(event)) return;
    reached.push(event);
    throw new Error("interrupted");
  };
  const log: Log = { ...silentLog, debug: interrupt, info: interrupt };
  const run = () =>
    addOrderMovements({ client, log }).then(
      () => true,
      () => false,
    );
  while (!(await run()));
  expect(reached.length).toBeGreaterThanOrEqual(2);
  await expectMigrated();
  await addOrderMovements({ client, log: silentLog });
  await expectMigrated();
});

test("the ledger rejects a second cancellation while its keys are replaced", async () => {
  const orderId = randomUUID();
  const cancel = () =>
    database.query(
      `insert into stock_movement (product_id, reserved_delta, reason, order_id, effective_at, created_at)
       values ($1, -1, 'CANCEL', $2, now(), now())`,
      [PRODUCT, orderId],
    );
  await cancel();
  let isMigrated = false;
  const migrated = addOrderMovements({ client, log: silentLog }).finally(() => {
    isMigrated = true;
  });
  let attempts = 0;
  while (!isMigrated) {
    await expect(cancel()).rejects.toThrow(/stock_movement_order(_event)?_unique/);
    attempts += 1;
  }
  await migrated;
  await expect(cancel()).rejects.toThrow("stock_movement_order_event_unique");
  expect(attempts).toBeGreaterThan(1);
});
