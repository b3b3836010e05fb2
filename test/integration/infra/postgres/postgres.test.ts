import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { type Database, openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { isConnectionLost, readPostgresError } from "../../../../src/infra/postgres/postgres-errors.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/database.ts";
import { silentLog } from "../../../support/log.ts";

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await createTestDatabase();
  // One connection, so that nothing can hide behind another.
  const limits = { poolMax: 1, poolWaitMs: 1_000, statementTimeoutMs: 2_000 };
  db = await openPostgres({ url: database.url, entities, log: silentLog, ...limits });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

const one = () => db.transact(internalCall(), (tx) => tx.query(sql`select 1`));

test("statements that somebody cancels, begin and rollback too, leave no connection in a transaction", async () => {
  let cancelling = true;
  const canceller = (async () => {
    while (cancelling) {
      await database.query(
        "select pg_cancel_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
      );
    }
  })();
  const until = performance.now() + 1_500;
  while (performance.now() < until) await one().catch(() => {});
  cancelling = false;
  await canceller;
  await sleep(50);
  for (let count = 0; count < 20; count += 1) await one();
  expect(await db.read(internalCall(), { text: "select 1 as one" }, [])).toEqual([{ one: 1 }]);
});

test("a transaction whose failed statement was swallowed is not taken for committed", async () => {
  const swallowed = db.transact(internalCall(), (tx) => tx.query(sql`select 1 / 0`).catch(() => []));
  await expect(swallowed).rejects.toThrow(/ROLLBACK/);
  await one();
});

test("times are read right whatever the database's own settings are", async () => {
  const name = new URL(database.url).pathname.slice(1);
  await database.query(`alter database ${name} set datestyle = 'SQL, DMY'`);
  await database.query(`alter database ${name} set timezone = 'Asia/Kathmandu'`);
  const other = await openPostgres({
    ...{ url: database.url, entities, log: silentLog },
    ...{ poolMax: 1, poolWaitMs: 1_000, statementTimeoutMs: 2_000 },
  });
  const text = "select timestamptz '2026-03-04T05:06:07.008Z' as time";
  const [row] = await other.read<{ time: string }>(internalCall(), { text }, []);
  await other.close();
  expect(new Date(row?.time ?? "").toISOString()).toBe("2026-03-04T05:06:07.008Z");
});

// On a machine that stands still for a moment it takes longer.
test("a deadline holds while a connection is waited for", { retry: 2 }, async () => {
  const leave = new AbortController();
  const holder = db.transact(internalCall(), (tx) => tx.query(sql`select pg_sleep(0.8)`));
  await sleep(100);
  const start = performance.now();
  const call = { ...internalCall(leave.signal), deadlineAtMs: start + 100 };
  setTimeout(() => leave.abort(new AppError("deadline_exceeded", "too late", { reason: "LATE" })), 100);
  const waits = [db.read(call, { text: "select 1" }, []), db.transact(call, (tx) => tx.query(sql`select 1`))];
  for (const wait of waits) await expect(wait).rejects.toThrow("too late");
  expect(performance.now() - start).toBeLessThan(500);
  await holder;
  await one();
});

test.each(["Connection terminated", "not queryable", "timeout exceeded when trying to connect"])(
  "a caller's words are not taken for a fault of the driver: %s",
  (words) => {
    const refusal = new AppError("failed_precondition", `user ${words} has used up`, { reason: "LIMIT" });
    expect(readPostgresError(refusal)).toBeUndefined();
    expect(isConnectionLost(refusal)).toBe(false);
    expect(isConnectionLost(new Error(words))).toBe(words !== "timeout exceeded when trying to connect");
  },
);
