import { sql } from "kysely";
import { expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { purgeRequests } from "../../../../src/infra/postgres/idempotency/purge-requests.ts";
import { openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { PURGE_MS, purgeInBatches } from "../../../../src/infra/postgres/purge-in-batches.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { silentLog } from "../../../support/log.ts";
import { createTestDatabase } from "../../../support/stores/database.ts";

test("requests that are older than 7 days are deleted in several batches, and later ones stay", async () => {
  const database = await createTestDatabase();
  const pool = { poolMax: 2, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  const db = await openPostgres({ url: database.url, entities, log: silentLog, ...pool });
  const insert = (method: string, count: number, age: string) =>
    database.query(
      `insert into idempotency (method, owner, request_id, fingerprint, created_at)
       select $1, '', gen_random_uuid(), '', now() - $3::interval from generate_series(1, $2::int)`,
      [method, count, age],
    );
  await insert("Old", 5_001, "7 days 1 second");
  await insert("Recent", 3, "6 days 23 hours");
  const transact = db.transact;
  let transactions = 0;
  const counted: typeof transact = (call, work) => {
    transactions += 1;
    return transact(call, work);
  };
  await purgeRequests({ ...db, transact: counted }, internalCall());
  expect(await database.query("select method, count(*)::int from idempotency group by method")).toEqual([
    { method: "Recent", count: 3 },
  ]);
  expect(transactions).toBe(2);
  await db.close();
  await database.drop();
});

test("a purge that always finds more ends after its time, however many transactions it makes, or when its call is aborted", async () => {
  const database = await createTestDatabase();
  const pool = { poolMax: 2, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  const db = await openPostgres({ url: database.url, entities, log: silentLog, ...pool });
  let transactions = 0;
  const fullBatch = (limit: number) => {
    transactions += 1;
    return sql`select 1 as one from generate_series(1, ${limit}::int)`;
  };
  // Each transaction takes a 50th of the time.
  await purgeInBatches(db, internalCall(), fullBatch, () => (transactions * PURGE_MS) / 50);
  expect(transactions).toBe(50);
  transactions = 0;
  const stopping = new AbortController();
  const purge = purgeInBatches(
    db,
    internalCall(stopping.signal),
    (limit) => {
      if (transactions === 2) stopping.abort();
      return fullBatch(limit);
    },
    () => 0,
  );
  await expect(purge).rejects.toMatchObject({ code: "cancelled" });
  expect(transactions).toBe(3);
  await db.close();
  await database.drop();
});
