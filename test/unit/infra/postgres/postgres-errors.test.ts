import { expect, test } from "vitest";
import { databaseBusy, toAppError } from "../../../../src/infra/postgres/postgres-errors.ts";

test.each([
  ["cannot be reached", Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" })],
  ["is busier", new Error("timeout exceeded when trying to connect")],
])("what is said when the database %s is true for methods without a request_id too", (says, error) => {
  const told = toAppError(error);
  expect(told).toMatchObject({
    code: "unavailable",
    message: expect.stringContaining(says),
    details: { retryAfterMs: 1_000 },
  });
  expect(told).toMatchObject({
    message: expect.stringMatching(/Try again, with the same request_id where the method has one: .*\.$/),
  });
});

test("so is what is said to whom no connection is lent", () => {
  expect(databaseBusy().message).toMatch(/with the same request_id where the method has one/);
});
