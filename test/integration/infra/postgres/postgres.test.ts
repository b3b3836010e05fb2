import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { type Database, openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { silentLog } from "../../../support/log.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";

let database: TestDatabase;
let db: Database;
// With a single connection, a broken one cannot hide behind another.
const open = () =>
  openPostgres({
    url: database.url,
    entities,
    log: silentLog,
    poolMax: 1,
    poolWaitMs: 5_000,
    statementTimeoutMs: 5_000,
  });
beforeAll(async () => {
  database = await createTestDatabase();
  db = await open();
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

const runTransaction = () => db.transact(internalCall(), (tx) => tx.query(sql`select 1`));

// 50 cancellations that hit a statement take minutes on a busy machine.
test("cancelled statements, even begin and rollback, leave no connection inside of a transaction", {
  timeout: 600_000,
}, async ({ onTestFinished }) => {
  let isCancelling = true;
  // Otherwise a failure here would cancel the statements of the next tests.
  onTestFinished(() => {
    isCancelling = false;
  });
  const canceller = (async () => {
    while (isCancelling) {
      await database.query(
        "select pg_cancel_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
      );
    }
  })();
  let cancelled = 0;
  while (cancelled < 50) {
    await runTransaction().catch(() => {
      cancelled += 1;
    });
  }
  isCancelling = false;
  await canceller;
  // The last signal may hit one more transaction.
  await runTransaction().catch(() => {});
  for (let count = 0; count < 20; count += 1) await runTransaction();
  expect(await db.read(internalCall(), sql`select 1 as one`)).toEqual([{ one: 1 }]);
});

test("a transaction that goes on after a failed statement is not reported as committed", async () => {
  const transaction = db.transact(internalCall(), (tx) => tx.query(sql`select 1 / 0`).catch(() => []));
  await expect(transaction).rejects.toThrow(/ROLLBACK/);
  await runTransaction();
});

test("times are read correctly whatever date style and time zone the database has", async () => {
  const name = new URL(database.url).pathname.slice(1);
  await database.query(`alter database ${name} set datestyle = 'SQL, DMY'`);
  await database.query(`alter database ${name} set timezone = 'Asia/Kathmandu'`);
  const other = await open();
  const statement = sql<{ time: string }>`select timestamptz '2026-03-04T05:06:07.008Z' as time`;
  const [row] = await other.read(internalCall(), statement);
  await other.close();
  expect(new Date(row?.time ?? "").toISOString()).toBe("2026-03-04T05:06:07.008Z");
});

test("a call that waits for a connection ends with its deadline", async () => {
  const begun = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const holder = db.transact(internalCall(), () => {
    begun.resolve();
    return released.promise;
  });
  await begun.promise;
  const deadline = new AbortController();
  const call = internalCall(deadline.signal);
  const waiting = [db.read(call, sql`select 1`), db.transact(call, (tx) => tx.query(sql`select 1`))].map(
    (outcome) => expect(outcome).rejects.toThrow("too late"),
  );
  deadline.abort(new AppError("deadline_exceeded", "too late", { reason: "LATE" }));
  // They end while the only connection is still in use.
  await Promise.all(waiting);
  released.resolve();
  await holder;
  await runTransaction();
});

test("the server ends a transaction that takes too long, even if each statement is short, and it is not repeated", async ({
  onTestFinished,
}) => {
  const limits = { poolMax: 1, poolWaitMs: 5_000, statementTimeoutMs: 5_000, transactionTimeoutMs: 300 };
  const limited = await openPostgres({ url: database.url, entities, log: silentLog, ...limits });
  onTestFinished(() => limited.close());
  let attempts = 0;
  const slow = limited.transact(internalCall(), async (tx) => {
    attempts += 1;
    for (;;) await tx.query(sql`select pg_sleep(0.1)`);
  });
  await expect(slow).rejects.toMatchObject({ code: "deadline_exceeded" });
  expect(attempts).toBe(1);
  expect(await limited.transact(internalCall(), (tx) => tx.query(sql`select 1 as one`))).toEqual([
    { one: 1 },
  ]);
});
