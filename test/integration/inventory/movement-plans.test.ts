import { afterAll, beforeAll, expect, test } from "vitest";
import { entities } from "../../../src/entities.ts";
import { type Database, openPostgres } from "../../../src/infra/postgres/postgres.ts";
import type { CompiledStatement } from "../../../src/infra/postgres/statement.ts";
import { listStockMovements, type MovementListRequest } from "../../../src/inventory/inventory.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { createPageTokens } from "../../../src/kernel/page.ts";
import { silentLog } from "../../support/log.ts";
import { idOf } from "../../support/query-plans/fill-shop.ts";
import { explainStatement, recordStatements } from "../../support/query-plans/query-plan.ts";
import { createTestDatabase, type TestDatabase } from "../../support/stores/database.ts";

const productId = idOf("product", 1);
const orderId = idOf("order", 77);
const statements: CompiledStatement[] = [];
let database: TestDatabase;
let db: Database;

/** Fills the ledger of one product with 40,000 orders, and that of 2,000 others with deliveries. */
beforeAll(async () => {
  database = await createTestDatabase();
  const { query } = database;
  // The rows refer to products and orders that do not exist.
  await query("set session_replication_role = replica");
  await query(
    `insert into stock_movement (product_id, order_id, reserved_delta, reason, effective_at, created_at)
     select $1, (left($2, 24) || lpad(to_hex(n), 12, '0'))::uuid, case reason when 'ORDER' then 1 else -1 end, reason,
       created_at, created_at
     from generate_series(1, 40000) as n, unnest(array['ORDER', 'CANCEL']) as reason,
       lateral (select timestamptz '2026-01-01' + n * interval '1 minute' as created_at) as recorded
     where reason = 'ORDER' or n % 10 = 0 order by n`,
    [productId, orderId],
  );
  await query(
    `insert into stock_movement (product_id, on_hand_delta, reason, effective_at, created_at)
     select $1, 1, 'RECOUNT', created_at, created_at
     from generate_series(1, 400) as n,
       lateral (select timestamptz '2026-01-01' + n * interval '100 minutes' as created_at) as recorded`,
    [productId],
  );
  await query(
    `insert into stock_movement (product_id, on_hand_delta, reason, effective_at, created_at)
     select (left($1, 24) || lpad(to_hex(2 + n % 2000), 12, '0'))::uuid, 1,
       case when n <= 2000 then 'INITIAL' else 'RECEIVED' end, created_at, created_at
     from generate_series(1, 20000) as n,
       lateral (select timestamptz '2026-01-01' + n * interval '1 minute' as created_at) as recorded`,
    [productId],
  );
  await query("set session_replication_role = origin");
  await query("vacuum analyze stock_movement");
  db = await openPostgres({
    url: database.url,
    entities,
    poolMax: 2,
    poolWaitMs: 5_000,
    statementTimeoutMs: 10_000,
    log: silentLog,
  });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

const tokens = createPageTokens(Buffer.alloc(32), systemClock);
const all: MovementListRequest = {
  pageSize: 20,
  pageToken: "",
  productId: "",
  orderId: "",
  reason: undefined,
  minCreateTime: undefined,
  maxCreateTime: undefined,
};
const early = new Date("2026-01-03T00:00:00Z");
const late = new Date("2026-01-25T00:00:00Z");

test.each<[string, Partial<MovementListRequest>, index: string, count: number, most: number]>([
  ["of a product", { productId }, "stock_movement_product", 20, 21],
  ["of a product before a time", { productId, maxCreateTime: early }, "stock_movement_product", 20, 21],
  [
    "of a product in a time range",
    { productId, minCreateTime: early, maxCreateTime: late },
    "stock_movement_product",
    20,
    21,
  ],
  // Cancellations and recounts between the orders are read too.
  ["of a product's orders", { productId, reason: "ORDER" }, "stock_movement_product", 20, 30],
  ["of a product's cancellations", { productId, reason: "CANCEL" }, "stock_movement_product_reason", 20, 21],
  ["of a product's recounts", { productId, reason: "RECOUNT" }, "stock_movement_product_reason", 20, 21],
  [
    "of a product's recounts before a time",
    { productId, reason: "RECOUNT", maxCreateTime: early },
    "stock_movement_product_reason",
    20,
    21,
  ],
  [
    "of a reason that a product lacks",
    { productId, reason: "DAMAGED" },
    "stock_movement_product_reason",
    0,
    0,
  ],
  ["of an order", { orderId }, "stock_movement_order_event_unique", 1, 2],
  ["of a product in an order", { productId, orderId }, "stock_movement_order_event_unique", 1, 2],
  // A page of each of the three reasons that occur, and the list of reasons.
  ["of all products", {}, "stock_movement_reason", 20, 3 * 21 + 6],
  ["of all products before a time", { maxCreateTime: early }, "stock_movement_reason", 20, 3 * 21 + 6],
  ["of a reason", { reason: "INITIAL" }, "stock_movement_reason", 20, 21 + 1],
  ["of a reason that does not occur", { reason: "DAMAGED" }, "stock_movement_reason", 0, 1],
])("the list of entries %s reads little more than its page", async (_, filter, index, count, most) => {
  statements.splice(0);
  const request = { ...all, ...filter };
  const options = { db: recordStatements(db, statements), tokens };
  const first = await listStockMovements(options, internalCall(), request);
  expect(first.items).toHaveLength(count);
  const pageToken = first.nextPageToken;
  if (pageToken !== "") await listStockMovements(options, internalCall(), { ...request, pageToken });
  for (const statement of statements) {
    const plan = await explainStatement(database, statement);
    expect(plan.scanned).toEqual([]);
    expect(plan.indexes).toEqual([index]);
    expect(plan.rows).toBeLessThanOrEqual(most);
  }
});
