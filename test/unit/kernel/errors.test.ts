import { expect, test } from "vitest";
import { errorMessage } from "../../../src/kernel/errors.ts";

test("an error's message is its text; without one, its code or its name", () => {
  expect(errorMessage(new Error("broken"))).toBe("broken");
  expect(errorMessage(Object.assign(new AggregateError([], ""), { code: "ECONNREFUSED" }))).toBe(
    "ECONNREFUSED",
  );
  expect(errorMessage(new TypeError(""))).toBe("TypeError");
});

test("any other thrown value has a message too", () => {
  expect(errorMessage("broken")).toBe("broken");
  expect(errorMessage({ message: "broken" })).toBe("broken");
  expect(errorMessage({})).toBe("unknown error");
  expect(errorMessage(undefined)).toBe("undefined");
});
