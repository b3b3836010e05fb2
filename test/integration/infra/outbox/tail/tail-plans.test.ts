import { expect, test } from "vitest";
import { readPosition, readTail } from "../../../../../src/infra/outbox/tail/read-tail.ts";
import type { CompiledStatement } from "../../../../../src/infra/postgres/statement.ts";
import { internalCall } from "../../../../../src/kernel/call.ts";
import { connectOutboxClient } from "../../../../support/outbox/outbox-client.ts";
import { numbers, openOutboxFixture } from "../../../../support/outbox/outbox-fixture.ts";
import { explainStatement, recordStatements } from "../../../../support/query-plans/query-plan.ts";

const call = internalCall();
const LIMITS = { rows: 1_000, bytes: 2 ** 20 };
/** Inserts 40,000 rows into a table of the outbox, as published by the current transaction. */
const fill = (table: number) => `
  insert into outbox_${table} (epoch, xid, id, events)
  select 1, pg_current_xact_id(), ${table} * 1000000 + n, '[{"topic": "numbers", "data": 0}]'
  from generate_series(1, 40000) as n`;

test("a tail reads only new rows of large tables by their index, also while a transaction stays open", async () => {
  const { database, db } = await openOutboxFixture();
  const long = await connectOutboxClient(database.url);
  await database.query(fill(1));
  await long.query("begin");
  await long.append(1);
  for (const table of [2, 3]) await database.query(fill(table));
  await database.query("analyze");
  const statements: CompiledStatement[] = [];
  const recorded = recordStatements(db, statements);
  const position = await readPosition(db, call);
  await database.query(`select append_outbox('[{"topic": "numbers", "data": 2}]')`);
  const before = await readTail(recorded, call, position, [numbers.name], LIMITS);
  await long.query("commit");
  const after = await readTail(recorded, call, before.position, [numbers.name], LIMITS);
  expect([before, after].map(({ events }) => events.map(({ data }) => data))).toEqual([[2], [1]]);
  for (const statement of statements) {
    const plan = await explainStatement(database, statement);
    expect(plan.scanned.filter((table) => table !== "outbox_state")).toEqual([]);
    expect(plan.rows, "of tables, indexes and subqueries").toBeLessThan(30);
    expect(plan.blocks).toBeLessThan(50);
  }
});
