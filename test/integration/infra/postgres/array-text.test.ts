import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { type Database, openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { prepare } from "../../../../src/infra/postgres/statement.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { silentLog } from "../../../support/log.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await createTestDatabase();
  db = await openPostgres({
    url: database.url,
    entities,
    log: silentLog,
    poolMax: 1,
    poolWaitMs: 30_000,
    statementTimeoutMs: 30_000,
  });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

const TEXTS = prepare<[values: readonly unknown[]], { json: unknown }>(
  (values) => sql`select to_json(${values}::text[]) as json`,
);
const VALUES = prepare<
  [
    ints: readonly unknown[],
    booleans: readonly unknown[],
    bytes: readonly unknown[],
    times: readonly unknown[],
  ],
  { json: unknown }
>(
  (ints, booleans, bytes, times) => sql`
    select json_build_array(
      ${ints}::bigint[], ${booleans}::boolean[], (select array_agg(encode(b, 'hex')) from unnest(${bytes}::bytea[]) as b),
      array(select extract(epoch from t) from unnest(${times}::timestamptz[]) as t)
    ) as json`,
);

test("PostgreSQL reads every text of an array as it was", async () => {
  const texts = [
    "",
    "NULL",
    "null",
    " a b ",
    "a,b",
    "{}",
    '"',
    "\\",
    '\\"',
    "a\nb\tc",
    "日本語 😀 مرحبا",
    '{"a":"b\\"c"}',
    "'; drop table product; --",
    null,
    undefined,
  ];
  const [row] = await db.read(internalCall(), TEXTS(texts));
  expect(row?.json).toEqual(texts.map((text) => text ?? null));
  expect(await db.read(internalCall(), TEXTS([]))).toEqual([{ json: [] }]);
});

test("PostgreSQL reads numbers, booleans, bytes and times of an array as they were", async () => {
  const [row] = await db.read(
    internalCall(),
    VALUES(
      [1, -2n, 9_007_199_254_740_991n, null],
      [true, false, null],
      [Buffer.from([0, 92, 34, 255]), Buffer.alloc(0)],
      [new Date("2026-07-01T12:00:00.250Z")],
    ),
  );
  expect(JSON.stringify(row?.json)).toBe(
    JSON.stringify([
      [1, -2, 9_007_199_254_740_991, null],
      [true, false, null],
      ["005c22ff", ""],
      [1_782_907_200.25],
    ]),
  );
});

test("an object is refused instead of being stored as its name", () => {
  expect(() => TEXTS([{}])).toThrow(TypeError);
});
