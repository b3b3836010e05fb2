import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { type Database, openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { HOUR_MS } from "../../../../src/kernel/durations.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { silentLog } from "../../../support/log.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";

const call = internalCall();
const countBrands = sql<{ count: string }>`select count(*) from brand`;
let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await createTestDatabase();
  const limits = { poolMax: 1, poolWaitMs: 5_000, statementTimeoutMs: 500 };
  db = await openPostgres({ url: database.url, entities, log: silentLog, ...limits });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

test("all statements read the same snapshot, and the next one reads what was committed meanwhile", async () => {
  const counts = await db.readSnapshot(call, HOUR_MS, async (query) => {
    const before = await query(countBrands);
    await database.query("insert into brand values ('Snapshot', now())");
    return [...before, ...(await query(countBrands))].map(({ count }) => Number(count));
  });
  expect(counts[1]).toBe(counts[0]);
  const [after] = await db.readSnapshot(call, HOUR_MS, (query) => query(countBrands));
  expect(Number(after?.count)).toBe((counts[0] ?? 0) + 1);
});

test("a snapshot cannot be written to, and its connection is usable afterwards", async () => {
  const write = db.readSnapshot(call, HOUR_MS, (query) => query(sql`delete from brand`));
  await expect(write).rejects.toThrow("read-only transaction");
  const [row] = await db.read(call, sql<{ xact: boolean }>`select now() = statement_timestamp() as xact`);
  expect(row).toEqual({ xact: true });
});

test("the time limit replaces the statement timeout, also that of the driver", async () => {
  // The statement timeout of the pool is 500 ms, and its driver waits 1,500 ms for a response.
  const slept = await db.readSnapshot(call, HOUR_MS, (query) => query(sql`select pg_sleep(1.6)`));
  expect(slept.length).toBe(1);
  const [row] = await db.read(
    call,
    sql<{ timeout: string }>`select current_setting('statement_timeout') as timeout`,
  );
  expect(row).toEqual({ timeout: "500ms" });
});

test("statements that exceed the time limit together end with deadline_exceeded", async () => {
  const sleep = db.readSnapshot(call, 100, async (query) => {
    await query(sql`select 1`);
    await query(sql`select pg_sleep(60)`);
  });
  const error = await sleep.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(AppError);
  expect(error).toMatchObject({ code: "deadline_exceeded", details: { reason: "STATEMENT_TIMEOUT" } });
});

test("a call that is aborted ends its statement and gives the connection back", async () => {
  const controller = new AbortController();
  const reading = db.readSnapshot(internalCall(controller.signal), HOUR_MS, async (query) => {
    setImmediate(() => controller.abort());
    await query(sql`select pg_sleep(60)`);
  });
  await expect(reading).rejects.toMatchObject({ code: "cancelled" });
  expect(await db.readSnapshot(call, HOUR_MS, (query) => query(countBrands))).toHaveLength(1);
});
