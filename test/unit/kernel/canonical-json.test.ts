import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, fingerprint, hashJson } from "../../../src/kernel/canonical-json.ts";

describe("equal values have equal canonical JSON", () => {
  test.each([
    ["in another order of keys", { a: 1, b: { c: 2, d: 3 } }, { b: { d: 3, c: 2 }, a: 1 }],
    ["with undefined and absent properties", { a: 1, b: undefined }, { a: 1 }],
    ["with equal dates", new Date(5), new Date(5)],
    ["with keys that look like numbers", { 10: "a", 9: "b" }, { 9: "b", 10: "a" }],
  ])("equal values have equal canonical JSON: %s", (_, one, other) => {
    expect(canonicalJson(one)).toBe(canonicalJson(other));
  });

  test("equal values have equal canonical JSON in any order of their keys", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const reversed = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalJson(reversed)).toBe(canonicalJson(value));
      }),
    );
  });
});

describe("different values have different canonical JSON", () => {
  test.each([
    ["as a bigint and its digits have", { a: 1n }, { a: "1" }],
    ["as a bigint and a number have", { a: 1n }, { a: 1 }],
    ["as null and an absent property have", { a: null }, {}],
    ["as an empty string and an absent property have", { a: "" }, {}],
    ["as lists in different order have", [1, 2], [2, 1]],
    ["as different dates have", new Date(5), new Date(6)],
    ["as strings that are split differently have", { a: "b", c: "" }, { a: "bc" }],
    ["as upper and lower case have", "Ä", "ä"],
  ])("different values have different canonical JSON: %s", (_, one, other) => {
    expect(canonicalJson(one)).not.toBe(canonicalJson(other));
    expect(hashJson(one)).not.toEqual(hashJson(other));
  });

  test("any two different JSON values have different canonical JSON", () => {
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

/** Returns whether two values are equal as JSON, in whatever order of keys. JSON writes -0 as 0. */
function same(one: unknown, other: unknown): boolean {
  const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
  try {
    expect(plain(one)).toStrictEqual(plain(other));
    return true;
  } catch {
    return false;
  }
}

describe("fingerprints of requests", () => {
  const request = { name: "a", price: { units: 1n }, items: [{ id: "x", quantity: 0n }], from: new Date(5) };

  test.each([
    ["an empty text", { ...request, description: "" }],
    ["an undefined value", { ...request, expected: undefined }],
    ["null", { ...request, parent: null }],
    ["false", { ...request, validate: false }],
    ["an empty list", { ...request, tags: [] }],
    ["an empty object", { ...request, address: {} }],
    ["an object without content", { ...request, address: { city: "", lines: [], geo: { label: "" } } }],
    ["an empty field of an item", { ...request, items: [{ id: "x", quantity: 0n, note: "" }] }],
  ])("fingerprints of requests leave out a field that is not set: %s", (_, other) => {
    expect(fingerprint(other)).toEqual(fingerprint(request));
  });

  test.each([
    ["0", { ...request, expected: 0n }],
    ["true", { ...request, validate: true }],
    ["an empty element of a list", { ...request, tags: [""] }],
    ["an empty item of a list", { ...request, items: [...request.items, {}] }],
    ["an entry of a map with an empty value", { ...request, attributes: { color: "" } }],
  ])("fingerprints of requests contain a field that is set: %s", (_, other) => {
    expect(fingerprint(other)).not.toEqual(fingerprint(request));
  });
});
