import { Client } from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { openForMigration } from "../../../../src/infra/postgres/migrate.ts";
import { addPurchaseHolds } from "../../../../src/infra/postgres/migrations/online/migration-20261130030000-purchase-holds.ts";
import type { Log } from "../../../../src/kernel/log.ts";
import { silentLog } from "../../../support/log.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";

const PREVIOUS = "migration-20261130020000-ledger";
const ROWS = 5_000;
/** As replicas of the previous version write it. */
const INSERT = `
  insert into purchase (event_id, user_id, promotion_id, product_id, order_id, kind, currency, amount_minor, client_address,
    purchased_at, created_at)
  select gen_random_uuid(), 'ann', gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), kind, 'EUR', 1, '', now(), now()
  from generate_series(1, $1::int), unnest(array['SALE', 'REVERSAL']) as kind`;

let database: TestDatabase;
let client: Client;
beforeEach(async () => {
  database = await createTestDatabase("template1");
  client = new Client({ connectionString: database.url });
  await client.connect();
  const orm = await openForMigration(entities, { url: database.url, session: { client, log: silentLog } });
  await orm.migrator.up({ to: PREVIOUS });
  await orm.close();
  // The purchases refer to orders that do not exist.
  await database.query("set session_replication_role = replica");
  await database.query(INSERT, [ROWS / 2]);
});
afterEach(async () => {
  await client.end();
  await database.drop();
});

test("the migration of purchases rewrites no row, and completes after an interruption at each event of its log", async () => {
  const file = () => database.query("select pg_relation_filenode('purchase') as file");
  const before = await file();
  const reached: string[] = [];
  const interrupt = (fields: object, message: string) => {
    const event = JSON.stringify([message, fields]).replace(/"lockedMs":\d+/, "");
    if (reached.includes(event)) return;
    reached.push(event);
    throw new Error("interrupted");
  };
  const log: Log = { ...silentLog, debug: interrupt, info: interrupt };
  const run = () =>
    addPurchaseHolds({ client, log }).then(
      () => true,
      () => false,
    );
  while (!(await run())) await database.query(INSERT, [1]);
  expect(reached.length).toBeGreaterThanOrEqual(5);
  expect(await file()).toEqual(before);
  await database.query(INSERT, [1]);
  const purchases = await database.query("select count(*)::int as rows from purchase where counts");
  expect(purchases).toEqual([{ rows: ROWS + 2 * (reached.length + 1) }]);
  const invalid = await database.query(`
    select conname as name from pg_constraint
    where conrelid in ('purchase'::regclass, 'promotion'::regclass, 'promotion_hold'::regclass) and not convalidated
    union all select indexrelid::regclass::name from pg_index where not indisvalid`);
  expect(invalid).toEqual([]);
  await expect(database.query("update purchase set counts = false where kind = 'SALE'")).rejects.toThrow(
    "purchase_partial_reversal",
  );
});
