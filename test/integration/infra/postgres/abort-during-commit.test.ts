import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { type Database, openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { silentLog } from "../../../support/log.ts";
import { type CommitProxy, proxiedUrl, startCommitProxy } from "../../../support/stores/commit-proxy.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";

const DEADLINE = new AppError("deadline_exceeded", "too late", { reason: "LATE" });
const DISCONNECT = new AppError("cancelled", "gone", { reason: "GONE" });

let database: TestDatabase;
let proxy: CommitProxy;
let db: Database;
beforeAll(async () => {
  database = await createTestDatabase();
  await database.query("create table change (id int primary key)");
  proxy = await startCommitProxy(Number(new URL(database.url).port));
  db = await openPostgres({
    url: proxiedUrl(database.url, proxy),
    entities,
    log: silentLog,
    poolMax: 1,
    poolWaitMs: 30_000,
    statementTimeoutMs: 30_000,
  });
});
afterAll(async () => {
  await db.close();
  await proxy.close();
  await database.drop();
});

const PID = sql<{ pid: number }>`select pg_backend_pid() as pid`;

/** Inserts a row and returns the process of the connection. The call is aborted when its COMMIT is interrupted. */
async function insert(
  id: number,
  moment: "before" | "during" | "after" | "delayed",
  reason?: AppError,
): Promise<number | undefined> {
  const controller = new AbortController();
  const aborted = Promise.withResolvers<void>();
  const onInterrupt = () => {
    if (reason !== undefined) controller.abort(reason);
    // The response arrives in a later turn than the abort.
    setImmediate(aborted.resolve);
  };
  proxy.interrupt({ moment, statement: /insert into change/, onInterrupt, until: aborted.promise });
  return db.transact(internalCall(controller.signal), async (tx) => {
    await tx.query(sql`insert into change values (${id})`);
    const [row] = await tx.query(PID);
    return row?.pid;
  });
}

const isStored = async (id: number) =>
  (await database.query("select from change where id = $1", [id])).length === 1;

test.each([
  [1, "a deadline", DEADLINE],
  [2, "a disconnect", DISCONNECT],
] as const)("%s: %s during the COMMIT changes nothing when the response arrives", async (id, _, reason) => {
  const pid = await insert(id, "delayed", reason);
  expect(await isStored(id)).toBe(true);
  // The connection was not closed.
  expect(await db.read(internalCall(), PID)).toEqual([{ pid }]);
});

test.each([
  [3, "before", false],
  [4, "after", true],
] as const)(
  "%s: a deadline that passes during a COMMIT whose connection is lost %s it leaves the outcome unknown",
  async (id, moment, isCommitted) => {
    await expect(insert(id, moment, DEADLINE)).rejects.toMatchObject({
      code: "deadline_exceeded",
      details: { reason: "OUTCOME_UNKNOWN" },
    });
    expect(await isStored(id)).toBe(isCommitted);
  },
);

test.each([
  [5, "without an abort", undefined],
  [6, "after a disconnect", DISCONNECT],
] as const)("%s: a connection lost during the COMMIT %s is reported as such", async (id, _, reason) => {
  await expect(insert(id, "after", reason)).rejects.toMatchObject({
    code: "unavailable",
    details: { reason: "DATABASE_AWAY" },
  });
  expect(await isStored(id)).toBe(true);
});
