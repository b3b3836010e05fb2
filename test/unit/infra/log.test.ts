import { expect, test } from "vitest";
import { serializeError } from "../../../src/infra/log.ts";

test("an error is logged with its message, stack and cause, and without other properties", () => {
  const cause = Object.assign(new RangeError("connection refused"), {
    code: "ECONNREFUSED",
    client: { secretKey: 4711 },
  });
  const error = Object.assign(new Error("The database is unavailable.", { cause }), { password: "hunter2" });
  const fields = serializeError(error);
  expect(fields).toMatchObject({
    type: "Error",
    message: "The database is unavailable.",
    stack: expect.stringContaining("log.test.ts"),
    cause: { type: "RangeError", message: "connection refused", code: "ECONNREFUSED" },
  });
  expect(JSON.stringify(fields)).not.toMatch(/4711|hunter2/);
});

test("circular causes are logged to a limited depth", () => {
  const error = new Error("around");
  error.cause = error;
  expect(JSON.stringify(serializeError(error)).match(/"message"/g)?.length).toBeLessThan(10);
});

test("a thrown value that is no Error is logged by its message", () => {
  expect(serializeError({ message: "connection refused", secretKey: 4711 })).toBe("connection refused");
});
