import { expect, test } from "vitest";
import { errorCode, errorMessage } from "../../../src/kernel/errors.ts";

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

test("errorCode returns the code of an error, and an empty text for any other value", () => {
  expect(errorCode(Object.assign(new Error("missing"), { code: "ENOENT" }))).toBe("ENOENT");
  expect(errorCode(Object.assign(new Error("failed"), { code: 5 }))).toBe("");
  expect(errorCode(new Error("failed"))).toBe("");
  expect(errorCode(undefined)).toBe("");
});
