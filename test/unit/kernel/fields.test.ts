import { describe, expect, test } from "vitest";
import { AppError } from "../../../src/kernel/errors.ts";
import { assertPresent, fieldsToUpdate, pick, type UpdatableFields } from "../../../src/kernel/fields.ts";
import { assertAmount, MAX_MINOR_UNITS } from "../../../src/kernel/money.ts";

const updatable: UpdatableFields<"name" | "parentId" | "labels"> = {
  resource: "thing",
  fields: { name: "name", parent_id: "parentId", labels: "labels" },
  required: new Set(["name"]),
};
const full = { name: "A", parentId: "p", labels: { a: "b" } };
const empty = { name: "", parentId: "", labels: {} };

function rejection(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof AppError)) return error;
    return [error.details.reason, error.details.fields?.map(({ field }) => field)];
  }
}

describe("an update", () => {
  test.each([
    ["changes the fields of the mask", full, ["parent_id"], ["parentId"]],
    ["empties the empty fields of the mask", empty, ["parent_id", "labels"], ["parentId", "labels"]],
    ["changes a field that is named twice once", full, ["name", "name"], ["name"]],
    ["without a mask changes the fields that are not empty", { ...empty, labels: { a: "" } }, [], ["labels"]],
    ["without a mask changes all fields when none is empty", full, [], ["name", "parentId", "labels"]],
    ["changes all fields for *", { ...empty, name: "A" }, ["*"], ["name", "parentId", "labels"]],
  ])("an update %s", (_, input, mask, keys) => {
    expect(fieldsToUpdate(updatable, input, mask)).toEqual(keys);
  });

  test.each([
    ["an unknown path", full, ["size"], ["INVALID_FIELD", ["update_mask"]]],
    ["a property name that is not the contract's", full, ["parentId"], ["INVALID_FIELD", ["update_mask"]]],
    ["a path inside of a field", full, ["labels.a"], ["INVALID_FIELD", ["update_mask"]]],
    [
      "a property that every object inherits",
      full,
      ["name", "constructor"],
      ["INVALID_FIELD", ["update_mask"]],
    ],
    ["* next to other paths", full, ["*", "size"], ["INVALID_FIELD", ["update_mask"]]],
    ["no field to change", empty, [], ["INVALID_FIELD", ["update_mask"]]],
    ["emptying a required field", empty, ["name"], ["FIELD_REQUIRED", ["thing.name"]]],
    ["emptying a required field by *", empty, ["*"], ["FIELD_REQUIRED", ["thing.name"]]],
  ])("an update is rejected for %s", (_, input, mask, expected) => {
    expect(rejection(() => fieldsToUpdate(updatable, input, mask))).toEqual(expected);
  });

  test("an update is rejected with a short message, however long the path", () => {
    const path = "x".repeat(1_000_000);
    let error: unknown;
    try {
      fieldsToUpdate(updatable, full, [path]);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(AppError);
    if (error instanceof AppError) expect(JSON.stringify(error.details).length).toBeLessThan(1_000);
  });
});

test("an error names all missing fields", () => {
  const values = { "a.b": "", "a.c": undefined, "a.d": {}, "a.e": 0n, "a.f": "x", "a.g": false };
  expect(rejection(() => assertPresent(values))).toEqual(["FIELD_REQUIRED", ["a.b", "a.c", "a.d"]]);
  expect(assertPresent({ "a.e": 0n, "a.f": " " })).toBeUndefined();
});

test("pick returns exactly the chosen properties", () => {
  expect(pick({ a: 1, b: 2, c: undefined }, ["a", "c"])).toEqual({ a: 1, c: undefined });
});

test("an amount of up to 10^15 minor units is accepted, a larger one rejected", () => {
  expect(assertAmount(MAX_MINOR_UNITS, "order")).toBeUndefined();
  expect(MAX_MINOR_UNITS).toBe(1_000_000_000_000_000n);
  expect(rejection(() => assertAmount(MAX_MINOR_UNITS + 1n, "order"))).toEqual([
    "AMOUNT_TOO_LARGE",
    ["order"],
  ]);
});
