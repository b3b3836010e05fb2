import { sql } from "kysely";
import { expect, test } from "vitest";
import { keysetCondition, keysetOrder } from "../../../../src/infra/postgres/keyset.ts";
import { compileStatement } from "../../../../src/infra/postgres/statement.ts";

const columns = [
  { name: "created_at", type: "timestamptz" },
  { name: "id", type: "uuid" },
];

test("a page begins after the values of its cursor, in the direction of the list", () => {
  const condition = keysetCondition({ columns, descending: true }, ["2026-01-01", "a"]);
  expect(compileStatement(sql`${condition}`)).toEqual({
    text: "(created_at, id) < ($1::timestamptz, $2::uuid)",
    values: ["2026-01-01", "a"],
    name: undefined,
  });
  const ascending = keysetCondition({ columns, descending: false }, ["2026-01-01", "a"]);
  expect(compileStatement(sql`${ascending}`).text).toContain(") > (");
});

test("the first page has no condition", () => {
  expect(keysetCondition({ columns, descending: true }, undefined)).toBeUndefined();
});

test("all columns are sorted in one direction", () => {
  const text = (descending: boolean) => compileStatement(keysetOrder({ columns, descending })).text;
  expect(text(true)).toBe("order by created_at desc, id desc");
  expect(text(false)).toBe("order by created_at asc, id asc");
});
