import { sql } from "kysely";
import { expect, test } from "vitest";
import {
  allOf,
  compileStatement,
  prepare,
  prepareDynamic,
} from "../../../../src/infra/postgres/statement.ts";

test("a prepared statement is compiled once and binds each value at every position of its parameter", () => {
  let builds = 0;
  const statement = prepare<[id: string, owner: string | null], { id: string }>((id, owner) => {
    builds += 1;
    return sql`select id from t where (${owner}::uuid is null or owner = ${owner}) and id = ${id} and n < ${5}`;
  });
  const first = statement("a", null);
  const second = statement("b", "c");
  expect(builds).toBe(1);
  expect(first.text).toBe("select id from t where ($1::uuid is null or owner = $2) and id = $3 and n < $4");
  expect(first.values).toEqual([null, null, "a", 5]);
  expect(second.values).toEqual(["c", "c", "b", 5]);
  expect(second.name).toBe(first.name);
});

test("statements have the same name exactly when they have the same text", () => {
  const byId = (id: string) => prepareDynamic(sql`select ${id}`);
  expect(byId("a").name).toBe(byId("b").name);
  expect(byId("a").name).not.toBe(prepareDynamic(sql`select ${"a"}, 1`).name);
  expect(compileStatement(sql`select ${1}`)).toEqual({ text: "select $1", values: [1], name: undefined });
});

test("conditions that are undefined do not apply", () => {
  const text = (conditions: Parameters<typeof allOf>[0]) => compileStatement(allOf(conditions)).text;
  expect(text([undefined])).toBe("true");
  expect(text([undefined, sql`a = ${1}`, sql`b`])).toBe("a = $1 and b");
});
