import { expect, test } from "vitest";
import {
  databaseBusy,
  isConnectionLost,
  readPostgresError,
  toAppError,
} from "../../../../src/infra/postgres/postgres-errors.ts";
import { AppError } from "../../../../src/kernel/errors.ts";

const ADVICE = /Retry the call\. If it has a request_id, use the same one, .*\.$/;

test.each([
  ["temporarily unavailable", Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" })],
  ["overloaded", new Error("timeout exceeded when trying to connect")],
])("the advice of an error that says %s holds for methods without a request_id as well", (says, error) => {
  const mapped = toAppError(error);
  expect(mapped).toMatchObject({
    code: "unavailable",
    message: expect.stringContaining(says),
    details: { retryAfterMs: 1_000 },
  });
  expect(mapped).toMatchObject({ message: expect.stringMatching(ADVICE) });
});

test("the advice after a timeout of the pool holds for methods without a request_id as well", () => {
  expect(databaseBusy().message).toMatch(ADVICE);
});

test.each(["Connection terminated", "not queryable", "timeout exceeded when trying to connect"])(
  "a caller's text in an AppError is not mistaken for the driver's message: %s",
  (text) => {
    const callerError = new AppError("failed_precondition", `user ${text} has used up`, { reason: "LIMIT" });
    expect(readPostgresError(callerError)).toBeUndefined();
    expect(isConnectionLost(callerError)).toBe(false);
    expect(isConnectionLost(new Error(text))).toBe(text !== "timeout exceeded when trying to connect");
  },
);
