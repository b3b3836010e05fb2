import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, fingerprint } from "../../../src/kernel/canonical-json.ts";

describe("values that mean the same have the same text", () => {
  test.each([
    ["order of keys", { a: 1, b: { c: 2, d: 3 } }, { b: { d: 3, c: 2 }, a: 1 }],
    ["undefined and absent", { a: 1, b: undefined }, { a: 1 }],
    ["two dates of one moment", new Date(5), new Date(5)],
    ["keys that look like numbers", { 10: "a", 9: "b" }, { 9: "b", 10: "a" }],
  ])("%s", (_, one, other) => {
    expect(canonicalJson(one)).toBe(canonicalJson(other));
  });

  test("whatever the order in which the keys were set", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const reversed = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalJson(reversed)).toBe(canonicalJson(value));
      }),
    );
  });
});

describe("values that differ have different texts", () => {
  test.each([
    ["a bigint and its digits", { a: 1n }, { a: "1" }],
    ["a bigint and a number", { a: 1n }, { a: 1 }],
    ["null and absent", { a: null }, {}],
    ["an empty text and absent", { a: "" }, {}],
    ["the order of a list", [1, 2], [2, 1]],
    ["two moments", new Date(5), new Date(6)],
    ["where a text ends", { a: "b", c: "" }, { a: "bc" }],
    ["case", "Ä", "ä"],
  ])("%s", (_, one, other) => {
    expect(canonicalJson(one)).not.toBe(canonicalJson(other));
    expect(fingerprint(one)).not.toEqual(fingerprint(other));
  });

  test("any two JSON values", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
        expect(canonicalJson(one) === canonicalJson(other)).toBe(same(one, other));
      }),
    );
  });
});

test("a fingerprint is 32 bytes", () => {
  expect(fingerprint({ list: "products" })).toHaveLength(32);
});

/** Equal as JSON, with no regard to the order of keys. JSON writes -0 as 0. */
function same(one: unknown, other: unknown): boolean {
  const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
  try {
    expect(plain(one)).toStrictEqual(plain(other));
    return true;
  } catch {
    return false;
  }
}
