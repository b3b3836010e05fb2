import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { type Database, openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { silentLog } from "../../../support/log.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";
import { countBusyConnections, countLockWaits } from "../../../support/stores/database-activity.ts";

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await createTestDatabase();
  await database.query("create table entry (id int primary key)");
  const pool = { poolMax: 1, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  db = await openPostgres({ url: database.url, entities, log: silentLog, ...pool });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

const select = (value: number) => sql<{ value: number }>`select ${value}::int as value`;

test("statements of a pipeline are sent before the first one responds, run in order, and return their own rows", async () => {
  await database.query("begin");
  await database.query("lock table entry in access exclusive mode");
  const rows = await db.transact(internalCall(), (tx) =>
    tx.pipelined(async () => {
      const insert = tx.query(sql`insert into entry values (1)`);
      const count = tx.query(sql<{ count: number }>`select count(*)::int as count from entry`);
      const other = tx.query(select(2));
      await expect.poll(() => countLockWaits(database)).toBe(1);
      await database.query("rollback");
      return Promise.all([insert, count, other]);
    }),
  );
  expect(rows).toEqual([[], [{ count: 1 }], [{ value: 2 }]]);
});

test("the error of a pipeline is that of the statement that failed, however long its handler takes", async () => {
  const duplicate = new AppError("already_exists", "Duplicate.", { reason: "DUPLICATE" });
  const failed = db.transact(internalCall(), (tx) =>
    tx.pipelined(() =>
      Promise.all([
        tx.query(sql`insert into entry values (1)`).catch(async () => {
          for (let hop = 0; hop < 10; hop += 1) await undefined;
          throw duplicate;
        }),
        tx.query(select(1)),
        tx.query(select(2)),
      ]),
    ),
  );
  await expect(failed).rejects.toBe(duplicate);
});

test("after a pipeline, the connection sends one statement at a time and closes immediately when its call ends", async () => {
  expect(
    await db.transact(internalCall(), async (tx) => {
      await tx.pipelined(() => Promise.all([tx.query(select(1)), tx.query(select(2))]));
      return tx.query(select(3));
    }),
  ).toEqual([{ value: 3 }]);
  const controller = new AbortController();
  await database.query("begin");
  await database.query("lock table entry in access exclusive mode");
  const ended = db.transact(internalCall(controller.signal), (tx) =>
    tx.pipelined(() => Promise.all([tx.query(sql`select from entry`), tx.query(select(1))])),
  );
  await expect.poll(() => countLockWaits(database)).toBe(1);
  controller.abort();
  await expect(ended).rejects.toMatchObject({ code: "cancelled" });
  await expect.poll(() => countBusyConnections(database)).toBe(0);
  await database.query("rollback");
  expect(await db.read(internalCall(), select(4))).toEqual([{ value: 4 }]);
});

test("each statement of a pipeline may take as long as the statement timeout, counted from the response before it", async () => {
  const pool = { poolMax: 1, poolWaitMs: 30_000, statementTimeoutMs: 1_000 };
  const limited = await openPostgres({ url: database.url, entities, log: silentLog, ...pool });
  let attempts = 0;
  const rows = await limited.transact(internalCall(), (tx) => {
    attempts += 1;
    const sleepAndSelect = (value: number) =>
      tx.query(sql<{ value: number }>`select ${value}::int as value from pg_sleep(0.6)`);
    return tx.pipelined(() => Promise.all([1, 2, 3, 4].map(sleepAndSelect)));
  });
  await limited.close();
  expect(rows).toEqual([1, 2, 3, 4].map((value) => [{ value }]));
  expect(attempts).toBe(1);
});

test("a transaction with a lock timeout that waits longer for a lock fails without another attempt", async () => {
  await database.query("begin");
  await database.query("lock table entry in access exclusive mode");
  let attempts = 0;
  const failed = db.transact(
    internalCall(),
    (tx) => {
      attempts += 1;
      return tx.query(sql`select from entry`);
    },
    { lockTimeoutMs: 10 },
  );
  await expect(failed).rejects.toMatchObject({ details: { reason: "CONTENTION" } });
  await database.query("rollback");
  expect(attempts).toBe(1);
});
