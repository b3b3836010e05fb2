import { describe, expect, test } from "vitest";
import { AppError } from "../../../src/kernel/errors.ts";
import { assertPresent, fieldsToUpdate, pick, type UpdatableFields } from "../../../src/kernel/fields.ts";
import { assertAmount, MAX_MINOR_UNITS } from "../../../src/kernel/money.ts";

const changeable: UpdatableFields<"name" | "parentId" | "labels"> = {
  resource: "thing",
  fields: { name: "name", parent_id: "parentId", labels: "labels" },
  required: new Set(["name"]),
};
const full = { name: "A", parentId: "p", labels: { a: "b" } };
const empty = { name: "", parentId: "", labels: {} };

function refusal(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof AppError)) return error;
    return [error.details.reason, error.details.fields?.map(({ field }) => field)];
  }
}

describe("what an update changes", () => {
  test.each([
    ["the fields of the mask", full, ["parent_id"], ["parentId"]],
    ["an empty field of the mask too", empty, ["parent_id", "labels"], ["parentId", "labels"]],
    ["a field named twice, once", full, ["name", "name"], ["name"]],
    ["without a mask, the fields that are not empty", { ...empty, labels: { a: "" } }, [], ["labels"]],
    ["without a mask, all when none is empty", full, [], ["name", "parentId", "labels"]],
    ["all of them for *", { ...empty, name: "A" }, ["*"], ["name", "parentId", "labels"]],
  ])("%s", (_, input, mask, keys) => {
    expect(fieldsToUpdate(changeable, input, mask)).toEqual(keys);
  });

  test.each([
    ["an unknown path", full, ["size"], ["INVALID_FIELD", ["update_mask"]]],
    ["a path of the code, not the contract", full, ["parentId"], ["INVALID_FIELD", ["update_mask"]]],
    ["a path below a field", full, ["labels.a"], ["INVALID_FIELD", ["update_mask"]]],
    ["a path that every object has", full, ["name", "constructor"], ["INVALID_FIELD", ["update_mask"]]],
    ["* beside others", full, ["*", "size"], ["INVALID_FIELD", ["update_mask"]]],
    ["nothing to change", empty, [], ["INVALID_FIELD", ["update_mask"]]],
    ["a required field emptied", empty, ["name"], ["FIELD_REQUIRED", ["thing.name"]]],
    ["a required field emptied by *", empty, ["*"], ["FIELD_REQUIRED", ["thing.name"]]],
  ])("is refused for %s", (_, input, mask, expected) => {
    expect(refusal(() => fieldsToUpdate(changeable, input, mask))).toEqual(expected);
  });

  test("a refusal is short, however long the path", () => {
    const path = "x".repeat(1_000_000);
    const error = (() => {
      try {
        return fieldsToUpdate(changeable, full, [path]);
      } catch (error) {
        return error;
      }
    })();
    expect(error).toBeInstanceOf(AppError);
    if (error instanceof AppError) expect(JSON.stringify(error.details).length).toBeLessThan(1_000);
  });
});

test("all missing fields are named at once", () => {
  const values = { "a.b": "", "a.c": undefined, "a.d": {}, "a.e": 0n, "a.f": "x", "a.g": false };
  expect(refusal(() => assertPresent(values))).toEqual(["FIELD_REQUIRED", ["a.b", "a.c", "a.d"]]);
  expect(assertPresent({ "a.e": 0n, "a.f": " " })).toBeUndefined();
});

test("pick takes the chosen properties and no more", () => {
  expect(pick({ a: 1, b: 2, c: undefined }, ["a", "c"])).toEqual({ a: 1, c: undefined });
});

test("an amount may be 10^15 minor units and no more", () => {
  expect(assertAmount(MAX_MINOR_UNITS, "order")).toBeUndefined();
  expect(MAX_MINOR_UNITS).toBe(1_000_000_000_000_000n);
  expect(refusal(() => assertAmount(MAX_MINOR_UNITS + 1n, "order"))).toEqual(["AMOUNT_TOO_LARGE", ["order"]]);
});
